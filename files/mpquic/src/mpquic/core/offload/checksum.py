# SPDX-License-Identifier: GPL-3.0-or-later
"""The internet checksum (RFC 1071) by way of big integers.

A string of 16-bit words, read as one integer, is congruent to the sum of its words modulo 65535, because 65536 is
congruent to 1. So one conversion and one remainder, both done in C, replace a loop over words.
"""

from __future__ import annotations

_MODULUS = 0xFFFF


def add(total: int, change: int) -> int:
    """Return the folded sum ``total`` after ``change``, which may be negative: 1 to 65535, as folding never gives 0."""
    return (total + change - 1) % _MODULUS + 1


def header(data: bytes | bytearray) -> int:
    """Return the checksum of a header of an even length whose checksum field holds 0."""
    return _MODULUS - (int.from_bytes(data) % _MODULUS or _MODULUS)


def right(data: bytes, at: int) -> bool:
    """Tell whether the checksum at ``at`` inside a header of an even length is what ``header`` would say."""
    return int.from_bytes(data) % _MODULUS == 0 and data[at : at + 2] != b"\xff\xff"


def pseudo(addresses: bytes, protocol: int, length: int) -> int:
    """Return the folded sum of a pseudo header: both addresses, the protocol, and the transport length (bytes)."""
    return add(int.from_bytes(addresses) % _MODULUS, protocol + length)


def complete(packet: bytes, start: int, offset: int) -> bytes:
    """Return the packet with the checksum at ``start + offset`` made of everything from ``start`` on.

    The field must hold the sum of the pseudo header. A checksum of 0 is written as 65535, for every protocol, as Linux
    does (skb_checksum_help): UDP reads 0 as "no checksum" (RFC 768), and to the others both are the same.
    """
    covered = packet[start:]
    total = int.from_bytes(covered) << 8 * (len(covered) & 1)
    at = start + offset
    return b"".join((packet[:at], (_MODULUS - total % _MODULUS).to_bytes(2), packet[at + 2 :]))
