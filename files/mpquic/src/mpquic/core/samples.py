# SPDX-License-Identifier: GPL-3.0-or-later
"""What acknowledgements said of a path since the daemon started, whichever of its connections they came by.

Nobody decides by these: they are what an operator counts with. An AckClock forgets with its connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.ackclock import AckClock

#: Upper bounds of the classes of round trip times (seconds): each twice the one before, from 1 ms to 2.048 s. What took
#: longer is in one class more.
RTT_BOUNDS = tuple(0.001 * (1 << power) for power in range(12))
_LAST = len(RTT_BOUNDS)
#: Binary digits of the milliseconds of the longest sample there can be: 24 days.
_DIGITS = 31


class RoundTrips:
    """A histogram of round trip times."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        """Start without a sample."""
        #: By the number of binary digits of the milliseconds.
        self._counts = [0] * (_DIGITS + 1)
        #: All samples together (seconds).
        self.total = 0.0

    def note(self, sample: float) -> None:
        """Count a sample (seconds)."""
        self._counts[int(sample * 1000).bit_length()] += 1
        self.total += sample

    @property
    def counts(self) -> list[int]:
        """Samples of each class, one more than there are bounds."""
        return [*self._counts[:_LAST], sum(self._counts[_LAST:])]


class Samples:
    """The sums of one path."""

    __slots__ = ("_acked", "_clock", "_judged", "rtts")

    def __init__(self) -> None:
        """Start without a connection."""
        self.rtts = RoundTrips()
        self._clock: AckClock | None = None
        self._acked = self._judged = 0

    def follow(self, clock: AckClock) -> None:
        """Count what this clock is told from now on, and no longer what another one is."""
        if self._clock is not None:
            self._clock.rtts = None
            self._acked += self._clock.acked_total
            self._judged += self._clock.acked_total + self._clock.lost_total
        self._acked -= clock.acked_total
        self._judged -= clock.acked_total + clock.lost_total
        self._clock, clock.rtts = clock, self.rtts

    @property
    def acknowledged(self) -> int:
        """QUIC packets that were acknowledged, in time or late."""
        return self._acked + (self._clock.acked_total if self._clock is not None else 0)

    @property
    def judged(self) -> int:
        """QUIC packets that were acknowledged or given up as lost: what is not among the acknowledged was lost."""
        clock = self._clock
        return self._judged + (clock.acked_total + clock.lost_total if clock is not None else 0)
