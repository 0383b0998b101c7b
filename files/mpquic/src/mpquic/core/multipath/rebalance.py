# SPDX-License-Identifier: GPL-3.0-or-later
"""Elephants: the few flows that fill links. A hash cannot know them, so they are moved where there is room for them.

Rates are those at which packets come out of the TUN, as the only thing that needs no help from the other end. What a
link can carry is not known either: the weights say how the links relate. With ``load(p)`` the bits per second of all
flows on path p, ``n(p)`` the number of elephants there and ``w(p)`` its weight, an elephant of rate r may move from p
to q when

    (load(q) + r) / w(q)  <  0.9 * load(p) / w(p)                  it will be better off there, and
    (n(q) + 1) / w(q)  <  n(p) / w(p)                              it is q's turn (highest averages, D'Hondt), or
    r > load(q)  and  r >= load(p) / 4                             it is more than all that q carries.

The first keeps flows that need little from being counted like those that take all they get, the others keep the number
of moves low. A link that carries less than its weight says looks empty, and would attract more and more flows. So each
move has to prove itself: when the load of q has not risen by half of r, the flow goes back, and q is left alone for a
while.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mpquic.core.multipath.conversation import Flow
    from mpquic.core.path import Path

#: Bits per second, and share of its class: less is no elephant. One that falls below half of it is none any more.
ELEPHANT = 256_000
ELEPHANT_SHARE = 1 / 64
#: Seconds between two moves of a flow; twice as long after each.
SETTLING = 2.0
MAX_SETTLING = 256.0
#: What the other path's load must be at most, as a part of the present one's.
GAIN = 0.9
#: Measurements through which a flow must be an elephant before it is moved: it may be starting, or end soon.
WINDOWS = 3
#: Seconds after which a move must show. Until then nothing else moves there; afterwards, if it did not show, for so
#: long (twice as long each time).
PROOF = 2.0
SHUT = 10.0
MAX_SHUT = 300.0
#: Weight of the newest measurement in smoothed rates, of one with nothing in it.
_NEWEST = 0.25
_SILENCE = 0.5
_OPEN = (0.0, 0.0)


class _Trial(NamedTuple):
    """A move that has yet to show."""

    flow: Flow
    origin: Path
    #: Bits per second that the path is to carry, and by when.
    load: float
    at: float


class Rebalancer:
    """Watches rates, and says which flow is to move."""

    def __init__(self, choices: Callable[[Flow], Mapping[Path, float]]) -> None:
        """Take what returns the paths that a flow may take, with their weights; empty for those not to be moved."""
        self._choices = choices
        self._elephants: list[Flow] = []
        #: Bits per second of all other flows.
        self._mice: dict[Path, float] = {}
        #: By path: the newest move there; until when nothing moves there for want of success, and how long that is.
        self._trials: dict[Path, _Trial] = {}
        self._shut: dict[Path, tuple[float, float]] = {}

    def __bool__(self) -> bool:
        """Tell whether there is an elephant to watch."""
        return bool(self._elephants)

    def measure(self, flows: Iterable[Flow], seconds: float) -> None:
        """Take the octets of the flows that were sent in the last so many seconds."""
        totals: defaultdict[int, float] = defaultdict(float)
        mice: defaultdict[Path, float] = defaultdict(float)
        large = []
        scale = 8 / seconds
        for flow in flows:
            rate = flow.octets * scale
            totals[flow.class_index] += rate
            if rate >= ELEPHANT:
                large.append(flow)
            elif not flow.windows:
                flow.octets = 0
                if flow.path is not None:
                    mice[flow.path] += rate
        elephants = []
        for flow in dict.fromkeys([*self._elephants, *large]):
            rate, least = flow.octets * scale, max(ELEPHANT, totals[flow.class_index] * ELEPHANT_SHARE)
            flow.octets = 0
            before = flow.rate if flow.windows else rate
            smoothed = before + (rate - before) * (_NEWEST if rate else _SILENCE)
            if smoothed >= (least / 2 if flow.windows else least):
                flow.rate = smoothed
                # One whose rate falls at once is ending, or has other worries.
                flow.windows = flow.windows + 1 if rate >= before / 2 else 1
                elephants.append(flow)
                continue
            flow.windows = 0
            if flow.path is not None:
                mice[flow.path] += rate
        self._elephants = elephants
        self._mice = {
            path: rate
            for path in {*self._mice, *mice}
            if (rate := self._mice.get(path, 0.0) * (1 - _NEWEST) + mice[path] * _NEWEST) >= 1
        }

    def move(self, now: float) -> tuple[Flow, Path] | None:
        """Return a flow that is to move and where to, None when all is well. It is taken as moved."""
        loads: defaultdict[Path, float] = defaultdict(float, self._mice)
        counts: defaultdict[Path, int] = defaultdict(int)
        for flow in self._elephants:
            if flow.path is not None:
                loads[flow.path] += flow.rate
                counts[flow.path] += 1
        return self._undo(loads, now) or self._best(loads, counts, now)

    def _best(
        self, loads: defaultdict[Path, float], counts: defaultdict[Path, int], now: float
    ) -> tuple[Flow, Path] | None:
        """Return the move that gains most."""
        best: tuple[float, Flow, Path, Path] | None = None
        for flow in self._elephants:
            here, weights = flow.path, self._choices(flow)
            if here is None or here not in weights or flow.windows < WINDOWS or now < flow.settled:
                continue
            load, count = GAIN * loads[here] / weights[here], counts[here] / weights[here]
            for path, weight in weights.items():
                gain = load - (loads[path] + flow.rate) / weight
                if gain <= 0 or path is here or path in self._trials or now < self._shut.get(path, _OPEN)[0]:
                    continue
                larger = flow.rate > loads[path] and flow.rate >= loads[here] / 4
                if (larger or (counts[path] + 1) / weight < count) and (best is None or gain > best[0]):
                    best = gain, flow, here, path
        if best is None:
            return None
        _gain, flow, here, path = best
        if here in self._trials:
            trial = self._trials[here]
            self._trials[here] = trial._replace(load=trial.load - flow.rate)
        self._trials[path] = _Trial(flow, here, loads[path] + flow.rate / 2, now + PROOF)
        return _moved(flow, path, now)

    def _undo(self, loads: defaultdict[Path, float], now: float) -> tuple[Flow, Path] | None:
        """Look at what came of moves; return one that is to be undone."""
        for path, (flow, origin, load, at) in list(self._trials.items()):
            if now < at:
                continue
            del self._trials[path]
            if loads[path] >= load:
                self._shut.pop(path, None)
            elif flow.path is path and now - flow.last < PROOF / 2:
                seconds = min(2 * self._shut.get(path, _OPEN)[1], MAX_SHUT) or SHUT
                self._shut[path] = now + seconds, seconds
                if origin in self._choices(flow):
                    return _moved(flow, origin, now)
        return None


def _moved(flow: Flow, path: Path, now: float) -> tuple[Flow, Path]:
    flow.settled = now + min(SETTLING * 2**flow.moves, MAX_SETTLING)
    flow.moves += 1
    return flow, path
