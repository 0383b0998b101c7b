# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sequence numbers were received: each is passed on once, whatever the paths do.

A window per bucket that slides with the largest number, as in RFC 6479. It is kept as the numbers that are missing, in
one integer, so that what comes in order costs nothing. QUIC refuses what is sent again on one connection; this is for
copies on several, and for what comes late. Numbers wrap (RFC 1982): what is less than 2^31 ahead is new, everything
else is behind.
"""

from __future__ import annotations

from mpquic.core.multipath.sequence import BUCKETS, NUMBERS

#: Numbers of a bucket, the largest included, that are told apart; what is further behind is refused. A flow of
#: 100 Mbit/s sends so much in 490 ms, one of 1 Gbit/s in 49 ms, which is what paths may differ by.
SIZE = 4096

_MASK = NUMBERS - 1
_HALF = NUMBERS // 2
_WINDOW = (1 << SIZE) - 1


class Dedup:
    """The windows of all buckets."""

    __slots__ = ("_missing", "_started", "duplicate", "following", "stale")

    def __init__(self) -> None:
        """Start with nothing received."""
        #: By bucket, one more than the largest number that was received (modulo 2^32).
        self.following = [0] * BUCKETS
        #: Bit i stands for the number ``following - 1 - i``, and is set while that may still come.
        self._missing = [0] * BUCKETS
        self._started = bytearray(BUCKETS)
        #: What was refused since the start: numbers that came before, and numbers too far behind to know.
        self.duplicate = 0
        self.stale = 0

    def note(self, bucket: int, first: int, count: int) -> list[range] | None:
        """Note ``count`` numbers (1 or more) from ``first`` on (modulo 2^32).

        Return None when all of them are new, the usual case; else the offsets from ``first`` of those that are.
        """
        following = self.following
        missing = self._missing[bucket]
        if first == following[bucket] and not missing:
            self._started[bucket] = 1
            following[bucket] = (first + count) & _MASK
            return None
        ahead = (first - following[bucket]) & _MASK
        if ahead < _HALF or not self._started[bucket]:
            if not self._started[bucket]:
                self._started[bucket] = 1
                # Who numbers begins with 0. Before any other number there may have been all others.
                ahead = SIZE if first else 0
            following[bucket] = (first + count) & _MASK
            gap = min(ahead, SIZE)
            missing = missing << gap + count if missing and gap + count < SIZE else 0
            self._missing[bucket] = (missing | ((1 << gap) - 1) << count) & _WINDOW if count < SIZE else 0
            return None
        behind = NUMBERS - ahead
        if count <= behind <= SIZE:
            ones = ((1 << count) - 1) << (behind - count)
            if missing & ones == ones:
                self._missing[bucket] = missing ^ ones
                return None
        return self._one_by_one(bucket, first, count)

    def complete(self, bucket: int, following: int) -> bool:
        """Tell whether everything before the number ``following`` was received, and nothing from it on."""
        return self.following[bucket] == following and not self._missing[bucket]

    def _one_by_one(self, bucket: int, first: int, count: int) -> list[range]:
        """Note numbers of which some are behind the largest."""
        new: list[range] = []
        start = 0
        for offset in range(count):
            if not self._is_new(bucket, (first + offset) & _MASK):
                if start < offset:
                    new.append(range(start, offset))
                start = offset + 1
        if start < count:
            new.append(range(start, count))
        return new

    def _is_new(self, bucket: int, number: int) -> bool:
        behind = (self.following[bucket] - number) & _MASK
        if not 0 < behind <= _HALF:
            return self.note(bucket, number, 1) is None
        if behind > SIZE:
            self.stale += 1
            return False
        bit = 1 << (behind - 1)
        if not self._missing[bucket] & bit:
            self.duplicate += 1
            return False
        self._missing[bucket] ^= bit
        return True
