# SPDX-License-Identifier: GPL-3.0-or-later
"""Inner packets with any address one likes, each with a mark to know it by."""

from __future__ import annotations

import itertools
import struct
from ipaddress import ip_address

#: "Use for experimentation" (RFC 3692): nobody merges, answers or forwards it.
_PROTOCOL = 253
_MARK = b"forged"
_NUMBERS = itertools.count(1)


def packet(source: str, target: str, size: int = 0) -> bytes:
    """Return a packet like no other; ``size`` is its length in bytes, as short as may be by default."""
    one, other = ip_address(source).packed, ip_address(target).packed
    body: bytes = _MARK + struct.pack(">Q", next(_NUMBERS))
    header = 20 if len(one) == 4 else 40
    body = body.ljust(size - header, b"\0")
    if len(one) == 4:
        start = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, _PROTOCOL, 0)
        return with_checksum(start + one + other) + body
    start = struct.pack(">IHBB", 6 << 28, len(body), _PROTOCOL, 64)
    return start + one + other + body


def with_checksum(header: bytes) -> bytes:
    """Fill in the checksum of an IPv4 header."""
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + (0xFFFF - total).to_bytes(2, "big") + header[12:]


def only(packets: list[bytes]) -> list[bytes]:
    """Return those that come from here, not answers to them either."""
    return [data for data in packets if data[20:26] == _MARK or data[40:46] == _MARK]
