# SPDX-License-Identifier: GPL-3.0-or-later
"""A path that works again proves it for a while, by packets that are sent from now on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core.multipath.losses import LOSSY, SLOT

if TYPE_CHECKING:
    from mpquic.core.ackclock import AckClock

#: Seconds it lasts, the second for a path that falls again and again.
LENGTHS = (2.0, 4.0)
#: Lost packets that fail it, if they are more than LOSSY of all.
_FAILING = 3


class Probation:
    """One probation."""

    __slots__ = ("_acked", "_clock", "_lost", "counting", "counts_from", "until")

    def __init__(self, clock: AckClock, now: float, answer: float, *, again: bool) -> None:
        """Begin. What was sent before is known to be lost or not in ``answer`` seconds, and counts for nothing."""
        self._clock = clock
        self.counts_from = now + answer
        self.until = max(now + LENGTHS[again], self.counts_from + SLOT)
        self.counting = False
        self._acked = self._lost = 0

    def begin(self) -> None:
        """Count from now on, which is ``counts_from``."""
        self.counting = True
        self._acked, self._lost = self._clock.acked_total, self._clock.lost_total

    def deadline(self) -> float:
        """Return when to call begin(), or when it is over."""
        return self.until if self.counting else self.counts_from

    def failed(self) -> str | None:
        """Return why it was failed, None when it was not."""
        acked, lost = self._clock.acked_total - self._acked, self._clock.lost_total - self._lost
        if lost < _FAILING or lost <= LOSSY * (acked + lost):
            return None
        return f"{lost / (acked + lost):.1%} of the packets of its probation lost"
