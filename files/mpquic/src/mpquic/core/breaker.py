# SPDX-License-Identifier: GPL-3.0-or-later
"""A circuit breaker (RFC 8084): the last resort against a path that is being flooded.

A tunnel leaves congestion control to what it carries (RFC 8085 section 3.1.11). Where that fails to react, most of
what is sent is lost, and so is everybody else's on that path. Then the tunnel itself sends less: half of what got
through, and half of that again every five seconds while the loss stays. All classes share what is left, critical
packets first. It never sends nothing: it may be the only way to the site, and a radio can lose a fifth of its packets
without any flood. When the loss is gone the limit grows by half every five seconds, until there is more room than
traffic.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

#: Share of packets lost, over so many seconds, that opens the breaker.
LOSS = 0.2
WINDOW = 5.0
#: Seconds of the window that must have lost so much each: the losses of one burst are no flood.
PERSISTENT = 3
#: Packets in a window below which it tells nothing.
ENOUGH = 100
#: Share of packets lost at which sending more is tried.
RECOVERED = 0.1
#: Growth of the limit per window.
GROWTH = 1.5
#: Bits per second that are always left. One TCP flow gets little more through such loss by itself.
FLOOR = 256_000.0
#: Seconds between samples.
_STEP = 1.0


class _Totals(NamedTuple):
    at: float
    acked: int
    lost: int
    octets: int


class _Step(NamedTuple):
    seconds: float
    answered: int
    lost: int
    octets: int

    @property
    def bad(self) -> bool:
        return self.lost > LOSS * self.answered


class Breaker:
    """Closed while ``limit`` is None; open, it is what may be sent (bits per second)."""

    def __init__(self) -> None:
        """Start closed."""
        self.limit: float | None = None
        #: Share of packets lost in the last window.
        self.loss = 0.0
        #: When check() has something to do.
        self.next_check = 0.0
        self._before: _Totals | None = None
        self._steps: deque[_Step] = deque()

    def restart(self) -> None:
        """Take the next totals as a beginning: they are another connection's."""
        self._before = None
        self.next_check = 0.0

    def check(self, now: float, acked: int, lost: int, octets: int) -> bool:
        """Take running totals of packets acknowledged and lost and of bytes sent; tell whether ``limit`` changed."""
        self.next_check = now + _STEP
        before, self._before = self._before, _Totals(now, acked, lost, octets)
        if before is None:
            return False
        steps = self._steps
        lost -= before.lost
        steps.append(_Step(now - before.at, acked - before.acked + lost, lost, octets - before.octets))
        seconds = sum([step.seconds for step in steps])
        while seconds - steps[0].seconds >= WINDOW:
            seconds -= steps.popleft().seconds
        if seconds < WINDOW:
            return False
        answered = sum([step.answered for step in steps])
        self.loss = max(0.0, sum([step.lost for step in steps]) / answered) if answered >= ENOUGH else 0.0
        was = self.limit
        self.limit = self._judge(8 * sum([step.octets for step in steps]) / seconds)
        if self.limit == was:
            return False
        # What is measured next is to show the effect of this.
        steps.clear()
        return True

    def _judge(self, sent: float) -> float | None:
        if self.loss > LOSS and sum([step.bad for step in self._steps]) >= PERSISTENT:
            through = sent * (1 - self.loss) if self.limit is None else self.limit
            return max(FLOOR, through / 2)
        if self.limit is None or self.loss > RECOVERED:
            return self.limit
        return None if sent < self.limit / 2 else self.limit * GROWTH
