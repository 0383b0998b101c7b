# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP echo requests and what reads and writes them: the far end of a TUN."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from ipaddress import ip_address

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001


def attach(name: str) -> int:
    """Return a descriptor of a TUN, which then has a carrier; reads do not wait."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    return descriptor


def drain(descriptor: int) -> list[bytes]:
    """Return all packets that wait at a TUN."""
    found = []
    while True:
        try:
            found.append(os.read(descriptor, 2048))
        except OSError:
            return found


def ends(packet: bytes) -> tuple[str, str]:
    """Return source and destination of a packet."""
    size, first = (4, 12) if packet[0] >> 4 == 4 else (16, 8)
    raw = [packet[first : first + size], packet[first + size : first + 2 * size]]
    return str(ip_address(raw[0])), str(ip_address(raw[1]))


def echo_request(source: str, destination: str) -> bytes:
    """Return an ICMP or ICMPv6 echo request (RFC 792, RFC 4443 section 4.1) as an IP packet."""
    one, other = ip_address(source).packed, ip_address(destination).packed
    if ip_address(source).version == 4:
        body = _summed(struct.pack("!BBHHH", 8, 0, 0, 7, 1), b"")
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, socket.IPPROTO_ICMP, 0) + one + other
        return _put(header, 10, _checksum(header)) + body
    pseudo = one + other + struct.pack("!IHBB", 8, 0, 0, socket.IPPROTO_ICMPV6)
    body = _summed(struct.pack("!BBHHH", 128, 0, 0, 7, 1), pseudo)
    return struct.pack("!IHBB", 6 << 28, len(body), socket.IPPROTO_ICMPV6, 64) + one + other + body


def _summed(body: bytes, pseudo: bytes) -> bytes:
    return _put(body, 2, _checksum(pseudo + body))


def _put(data: bytes, place: int, value: int) -> bytes:
    return data[:place] + value.to_bytes(2, "big") + data[place + 2 :]


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
