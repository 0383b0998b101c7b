# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an IP packet's headers tells flows apart and decides its class."""

from __future__ import annotations

from typing import NamedTuple

#: Protocols whose headers begin with the two ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
_PORTS = frozenset({6, 17, 33, 132, 136})
#: More fragments, and the fragment offset (RFC 791 section 3.1).
_FRAGMENTED = 0x3FFF
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS = 0, 43, 44, 51, 60
#: IPv6 extension headers that are stepped over (RFC 8200 section 4, RFC 4302).
_EXTENSIONS = frozenset({_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS})
#: More of them in one packet is nothing that hosts send.
_MAX_EXTENSIONS = 8
_IPV4_HEADER, _IPV6_HEADER = 20, 40
_IPV6_ADDRESS = 16


class Fields(NamedTuple):
    """Of one packet. Every fragment of a packet has the same: no ports."""

    dscp: int
    protocol: int
    source: bytes
    destination: bytes
    #: Source port and destination port in network byte order, or nothing.
    ports: bytes

    @property
    def ipv6(self) -> bool:
        """Whether it is an IPv6 packet."""
        return len(self.source) == _IPV6_ADDRESS


def fields(data: bytes, at: int) -> Fields | None:
    """Return the fields of the packet at ``data[at:]``, None when that is no IP packet.

    It may be cut off behind the headers, or be one of many segments.
    """
    size = len(data) - at
    if size >= _IPV4_HEADER and data[at] >> 4 == 4:
        start = at + 4 * (data[at] & 0x0F)
        protocol = data[at + 9]
        whole = not (data[at + 6] << 8 | data[at + 7]) & _FRAGMENTED
        ports = data[start : start + 4] if whole and protocol in _PORTS else b""
        source, destination = data[at + 12 : at + 16], data[at + 16 : at + 20]
        return Fields(data[at + 1] >> 2, protocol, source, destination, ports if len(ports) == 4 else b"")
    if size >= _IPV6_HEADER and data[at] >> 4 == 6:
        protocol, ports = _behind_extensions(data, at + _IPV6_HEADER, data[at + 6])
        # RFC 8200 section 3: the traffic class spans the first two octets.
        dscp = (data[at] & 0x0F) << 2 | data[at + 1] >> 6
        return Fields(dscp, protocol, data[at + 8 : at + 24], data[at + 24 : at + 40], ports)
    return None


def _behind_extensions(data: bytes, start: int, protocol: int) -> tuple[int, bytes]:
    """Return the protocol of an IPv6 packet and its ports."""
    for _header in range(_MAX_EXTENSIONS):
        if protocol not in _EXTENSIONS:
            break
        head = data[start : start + 4]
        if len(head) < 4:
            return protocol, b""
        if protocol == _FRAGMENT:
            # RFC 8200 section 4.5: 13 bits of offset, two that are reserved, and whether more follow. What a later
            # fragment holds is not to be told, so the first one is not looked into either; an atomic fragment
            # (RFC 6946) is whole.
            if (head[2] << 8 | head[3]) & 0xFFF9:
                return head[0], b""
            length = 8
        elif protocol == _AUTHENTICATION:
            length = 4 * (head[1] + 2)
        else:
            length = 8 * (head[1] + 1)
        protocol, start = head[0], start + length
    ports = data[start : start + 4] if protocol in _PORTS else b""
    return protocol, ports if len(ports) == 4 else b""
