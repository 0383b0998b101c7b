# SPDX-License-Identifier: GPL-3.0-or-later
"""Elephants: the few flows that fill links. A hash cannot know them, so they are moved where there is room for them.

Rates are those at which packets come out of the TUN, as the only thing that needs no help from the other end. What a
link can carry is not known either: the weights say how the links relate. With ``load(p)`` the bits per second of all
flows on path p, ``n(p)`` the number of elephants there and ``w(p)`` its weight, an elephant of rate r may move from p
to q when

    (load(q) + r) / w(q)  <  0.9 * load(p) / w(p)                  it will be better off there, and
    (n(q) + 1) / w(q)  <  n(p) / w(p)                              it is q's turn (highest averages, D'Hondt), or
    r > load(q)  and  r >= load(p) / 4                             it is more than all that q carries.

The first keeps flows that need little from being counted like those that take all they get; the others keep a link that
is weaker than its weight says, and therefore looks empty, from attracting more and more flows.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

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
#: Weight of the newest measurement in smoothed rates.
_NEWEST = 0.25


class Rebalancer:
    """Watches rates, and says which flow is to move."""

    def __init__(self, choices: Callable[[Flow], Mapping[Path, float]]) -> None:
        """Take what returns the paths that a flow may take, with their weights; empty for those not to be moved."""
        self._choices = choices
        self._elephants: list[Flow] = []
        #: Bits per second of all other flows.
        self._mice: dict[Path, float] = {}

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
            smoothed = flow.rate + (rate - flow.rate) * _NEWEST if flow.windows else rate
            if smoothed >= (least / 2 if flow.windows else least):
                flow.rate = smoothed
                flow.windows += 1
                elephants.append(flow)
                continue
            flow.windows = 0
            if flow.path is not None:
                mice[flow.path] += rate
        self._elephants = elephants
        for path in {*self._mice, *mice}:
            before = self._mice.get(path, 0.0)
            self._mice[path] = before + (mice[path] - before) * _NEWEST

    def move(self, now: float) -> tuple[Flow, Path] | None:
        """Return a flow that is to move and where to, None when all is well. It is taken as moved."""
        loads: defaultdict[Path, float] = defaultdict(float, self._mice)
        counts: defaultdict[Path, int] = defaultdict(int)
        for flow in self._elephants:
            if flow.path is not None:
                loads[flow.path] += flow.rate
                counts[flow.path] += 1
        best: tuple[float, Flow, Path] | None = None
        for flow in self._elephants:
            here = flow.path
            weights = self._choices(flow)
            if here is None or here not in weights or flow.windows < WINDOWS or now < flow.settled:
                continue
            load, count = loads[here] / weights[here], counts[here] / weights[here]
            for path, weight in weights.items():
                if path is here:
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
        return flow, path
