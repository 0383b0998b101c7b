# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packet numbers were received, to refuse duplicates (RFC 9000 section 12.3)."""

from __future__ import annotations

#: Packet numbers below the largest that are told apart: 8192 full-size packets are 80 ms at 1 Gbit/s. What is older
#: counts as received. aioquic's own 128 are less than one burst.
SIZE = 8192
_MASK = (1 << SIZE) - 1


class ReceiveWindow:
    """A bitmap that slides with the largest packet number; a drop-in for aioquic's QuicPacketNumberWindow."""

    __slots__ = ("_bits", "_stop")

    def __init__(self) -> None:
        """Start with nothing received."""
        #: One more than the largest packet number; bit i of ``_bits`` stands for the number ``_stop - 1 - i``.
        self._stop = 0
        self._bits = 0

    def add(self, packet_number: int) -> None:
        """Note one packet."""
        self.add_range(packet_number, packet_number + 1)

    def add_range(self, start: int, stop: int) -> None:
        """Note the packets from ``start`` up to and without ``stop``."""
        shift = stop - self._stop
        ones = (1 << (stop - start)) - 1
        if shift > 0:
            self._bits = ((self._bits << shift if shift < SIZE else 0) | ones) & _MASK
            self._stop = stop
        else:
            self._bits |= (ones << -shift) & _MASK

    def __contains__(self, packet_number: int) -> bool:
        """Tell whether this packet came before, or is too old to know."""
        age = self._stop - 1 - packet_number
        if age < 0:
            return False
        return age >= SIZE or bool(self._bits >> age & 1)
