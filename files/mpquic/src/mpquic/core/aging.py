# SPDX-License-Identifier: GPL-3.0-or-later
"""Two rules for dropping packets that have waited too long. A queue asks for every packet that is about to leave.

On a slow link a packet may wait for one and a half others whatever TARGET says, and a burst lasts longer by as much.
"""

from __future__ import annotations

from math import sqrt
from typing import Protocol

#: Seconds that packets may wait all the time (RFC 8289 section 4.4).
TARGET = 0.005
#: Seconds for which a burst may make them wait longer: in the order of a round trip (RFC 8289 section 4.3).
INTERVAL = 0.1
#: Bytes. A queue of one packet is no queue (RFC 8289 section 4.4).
_ONE_PACKET = 1500


class Aging(Protocol):
    """A rule with a memory of one queue."""

    #: See TARGET and INTERVAL.
    target: float
    interval: float

    def drops(self, age: float, backlog: int, now: float) -> bool:
        """Judge a packet that has waited ``age`` seconds and leaves ``backlog`` bytes behind it."""


class CoDel:
    """Controlled delay, RFC 8289 section 5: one drop now and then, which TCP understands, faster while it does not."""

    def __init__(self) -> None:
        """Start with no queue."""
        self.target, self.interval = TARGET, INTERVAL
        self._above_until: float | None = None
        self._dropping = False
        self._next = 0.0
        self._count = 0
        self._count_before = 0

    def drops(self, age: float, backlog: int, now: float) -> bool:
        """See Aging."""
        if age < self.target or backlog <= _ONE_PACKET:
            self._above_until = None
            self._dropping = False
            return False
        if self._above_until is None:
            self._above_until = now + self.interval
        if self._dropping:
            if now < self._next:
                return False
            self._count += 1
            self._next += self.interval / sqrt(self._count)
            return True
        if now < self._above_until:
            return False
        self._dropping = True
        # Soon after the last time, go on about where that ended.
        gained = self._count - self._count_before
        self._count = gained if gained > 1 and now - self._next < 16 * self.interval else 1
        self._count_before = self._count
        self._next = now + self.interval / sqrt(self._count)
        return True


class Cut:
    """For packets that are worth nothing late: a burst may pass, of a queue that stands all that is old is dropped."""

    def __init__(self) -> None:
        """Start with no queue."""
        self.target, self.interval = TARGET, INTERVAL
        self._above_until: float | None = None

    def drops(self, age: float, backlog: int, now: float) -> bool:
        """See Aging."""
        if backlog <= _ONE_PACKET:
            self._above_until = None
            return False
        if age < self.target:
            # Once it stood it must drain before it may grow again.
            if self._above_until is not None and now < self._above_until:
                self._above_until = None
            return False
        if self._above_until is None:
            self._above_until = now + self.interval
        return now >= self._above_until
