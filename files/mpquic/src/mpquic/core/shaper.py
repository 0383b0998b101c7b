# SPDX-License-Identifier: GPL-3.0-or-later
"""Sending no faster than a link carries, so that packets wait here, where their class counts, and not in the link.

A token bucket, kept as the time at which it would be full again (the virtual scheduling form of ITU-T I.371's GCRA):
nothing is refilled, nothing rounds away, and the time at which the next packet may go is exact.
"""

from __future__ import annotations

#: Seconds of the rate that may leave at once. An event loop wakes up a millisecond or two late and then makes good for
#: it; the link's own queue is never longer.
BURST = 0.004


class Shaper:
    """Admits bytes at ``rate`` (bits per second). What has left is charged afterwards, so one packet may overdraw."""

    def __init__(self, rate: float) -> None:
        """Start with a full bucket."""
        self._octets = rate / 8
        self._full_at = 0.0

    def due(self) -> float:
        """Return since when, or from when on, the next packet may leave."""
        return self._full_at - BURST

    def allowance(self, now: float) -> float:
        """Return how many bytes may leave now: 0, or at least 1 from due() on."""
        due = max(self.due(), now - BURST)
        return (now - due) * self._octets + 1 if now >= due else 0.0

    def spend(self, octets: float, now: float) -> None:
        """Charge what has left."""
        self._full_at = max(self._full_at, now) + octets / self._octets
