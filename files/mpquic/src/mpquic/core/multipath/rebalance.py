# SPDX-License-Identifier: GPL-3.0-or-later
"""Elephants: the few flows that fill links. A hash cannot know them, so they are moved where there is room for them.

Rates are those at which packets come out of the TUN, as the only thing that needs no help from the other end. What a
link can carry is not known either: the weights say how the links relate. With ``load(p)`` the bits per second of all
flows on path p, ``n(p)`` the number of elephants there and ``w(p)`` its weight, an elephant of rate r may move from p
to q when

    (load(q) + r) / w(q)  <  0.9 * load(p) / w(p)                  it will be better off there, and
    (n(q) + 1) / w(q)  <  n(p) / w(p)                              it is q's turn (highest averages, D'Hondt), or
    r > load(q)  and  r >= load(p) / 4                             it is more than all that q carries.

The first keeps flows that need little from being counted like those that take all they get; the others keep a link
that is weaker than its weight says, and therefore looks empty, from attracting more and more flows. So does the proof
of each move: a path whose load has not risen by half of what moved there is left alone for a while.
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
    #: Bits per second that the path is to carry.
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
        self._prove(loads, now)
        best: tuple[float, Flow, Path] | None = None
        for flow in self._elephants:
            here = flow.path
            weights = self._choices(flow)
            if here is None or here not in weights or flow.windows < WINDOWS or now < flow.settled:
                continue
            load, count = loads[here] / weights[here], counts[here] / weights[here]
            for path, weight in weights.items():
                if path is here or path in self._trials or now < self._shut.get(path, _OPEN)[0]:
                    continue
                gain = GAIN * load - (loads[path] + flow.rate) / weight
                if gain <= 0 or (best is not None and gain <= best[0]):
                    continue
                dominant = flow.rate > loads[path] and flow.rate >= loads[here] / 4
                if dominant or (counts[path] + 1) / weight < count:
                    best = gain, flow, path
        if best is None:
            return None
        _gain, flow, path = best
        flow.settled = now + min(SETTLING * 2**flow.moves, MAX_SETTLING)
        flow.moves += 1
        self._trials[path] = _Trial(flow, loads[path] + flow.rate / 2, now + PROOF)
        return flow, path

    def _prove(self, loads: Mapping[Path, float], now: float) -> None:
        """Look at what came of moves."""
        for path, (flow, load, at) in list(self._trials.items()):
            if now < at:
                continue
            del self._trials[path]
            if loads[path] >= load:
                self._shut.pop(path, None)
            elif flow.path is path and now - flow.last < PROOF / 2:
                seconds = min(2 * self._shut.get(path, _OPEN)[1], MAX_SHUT) or SHUT
                self._shut[path] = now + seconds, seconds
