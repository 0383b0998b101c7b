# SPDX-License-Identifier: GPL-3.0-or-later
"""What one peer may send: packets and bits per second, so that it cannot keep the others from being served."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpquic.core import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.types import Arrival

#: Seconds that may be spent at once after a pause.
BURST = 0.25


class Bucket:
    """A token bucket: ``rate`` tokens per second, at most ``depth`` of them saved up."""

    def __init__(self, rate: float, depth: float) -> None:
        """Start full."""
        self._rate = rate
        self._depth = depth
        self._level = depth
        self._at = -math.inf

    def level(self, now: float) -> float:
        """Return the tokens that are there, less than none when more was taken."""
        if now > self._at:
            self._level = min(self._depth, self._level + (now - self._at) * self._rate)
            self._at = now
        return self._level

    def take(self, now: float, tokens: float = 1.0) -> bool:
        """Take tokens if there are so many; tell whether there were."""
        if self.level(now) < tokens:
            return False
        self._level -= tokens
        return True

    def spend(self, tokens: float) -> None:
        """Take tokens, there or not."""
        self._level -= tokens


class Budget:
    """Holds the UDP datagrams of one peer to packets and bits per second, before any work is done on them."""

    def __init__(self, *, packets: int | None, rate: int | None) -> None:
        """Take the limits, None for none."""
        self._packets = Bucket(packets, max(1.0, packets * BURST)) if packets is not None else None
        self._bits = Bucket(rate, rate * BURST) if rate is not None else None

    def admit(self, arrivals: Sequence[Arrival], now: float) -> tuple[Sequence[Arrival], int]:
        """Return the arrivals within the budget, and how many datagrams are not."""
        if self._packets is None and self._bits is None:
            return arrivals, 0
        admitted, refused = [], 0
        for arrival in arrivals:
            count = wire.count(arrival)
            if (self._packets is not None and self._packets.level(now) < 1) or (
                self._bits is not None and self._bits.level(now) <= 0
            ):
                refused += count
                continue
            # A buffer of receive offload is let in whole, and paid for later.
            if self._packets is not None:
                self._packets.spend(count)
            if self._bits is not None:
                self._bits.spend(8 * len(arrival[0]))
            admitted.append(arrival)
        return admitted, refused
