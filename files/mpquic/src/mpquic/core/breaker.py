# SPDX-License-Identifier: GPL-3.0-or-later
"""A circuit breaker (RFC 8084): the last resort against a path that is being flooded.

A tunnel leaves congestion control to what it carries (RFC 8085 section 3.1.11). Where that fails to react, most of
what is sent is lost, and so is everybody else's on that path. Then the tunnel itself sends less: half of what got
through, and half of that again every five seconds while the loss stays. All classes share what is left, critical
packets first. It never sends nothing: it may be the only way to the site, and a radio can lose a fifth of its packets
without any flood. When the loss is gone the limit grows by a quarter every five seconds, until there is more room than
traffic.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

#: Share of packets lost, over so many seconds, that opens the breaker.
LOSS = 0.2
WINDOW = 5.0
#: Packets in a window below which it tells nothing.
ENOUGH = 100
#: Share of packets lost at which sending more is tried.
RECOVERED = 0.1
#: Growth of the limit per window.
GROWTH = 1.25
#: Bits per second that are always left. One TCP flow gets little more through such loss by itself.
FLOOR = 256_000.0
#: Seconds between samples.
_STEP = 1.0


class _Sample(NamedTuple):
    at: float
    acked: int
    lost: int
    octets: int


class Breaker:
    """Closed while ``limit`` is None; open, it is what may be sent (bits per second)."""

    def __init__(self) -> None:
        """Start closed."""
        self.limit: float | None = None
        #: Share of packets lost in the last window.
        self.loss = 0.0
        #: When check() has something to do.
        self.next_check = 0.0
        self._samples: deque[_Sample] = deque()

    def restart(self) -> None:
        """Forget the present window: the counters begin anew with another connection."""
        self._samples.clear()
        self.next_check = 0.0

    def check(self, now: float, acked: int, lost: int, octets: int) -> bool:
        """Take running totals of packets acknowledged and lost and of bytes sent; tell whether ``limit`` changed."""
        self.next_check = now + _STEP
        samples = self._samples
        sample = _Sample(now, acked, lost, octets)
        if samples and now - samples[0].at > 2 * WINDOW:
            # An idle time says nothing about now.
            samples.clear()
        samples.append(sample)
        while len(samples) > 1 and now - samples[1].at >= WINDOW:
            samples.popleft()
        first = samples[0]
        seconds = now - first.at
        if seconds < WINDOW:
            return False
        answered = sample.acked - first.acked + sample.lost - first.lost
        self.loss = max(0.0, (sample.lost - first.lost) / answered) if answered >= ENOUGH else 0.0
        before = self.limit
        self.limit = self._judge(8 * (sample.octets - first.octets) / seconds)
        if self.limit != before:
            # What is measured next is to show the effect of this.
            samples.clear()
            samples.append(sample)
        return self.limit != before

    def _judge(self, sent: float) -> float | None:
        if self.loss > LOSS:
            through = sent * (1 - self.loss) if self.limit is None else self.limit
            return max(FLOOR, through / 2)
        if self.limit is None or self.loss > RECOVERED:
            return self.limit
        return None if sent < self.limit / 2 else self.limit * GROWTH
