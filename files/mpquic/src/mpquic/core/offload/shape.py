# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the fields are in a TCP or UDP packet, and how the headers of one segment follow from those of another.

Headers are handled as a payload begins: one byte of context id, then the IP packet. A *head* is that byte and all
headers up to the transport payload (the *body*).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from mpquic.core import wire
from mpquic.core.offload import checksum, vnet

TCP = 6
UDP = 17
FIN = 0x01
PSH = 0x08
ACK = 0x10
CWR = 0x80

_IPV4_HEADER = 20
_IPV6_HEADER = 40
_TCP_HEADER = 20
_UDP_HEADER = 8
#: More fragments, and the fragment offset (RFC 791 section 3.1).
_FRAGMENT = 0x3FFF
_WORD = Struct(">H")
_LONG = Struct(">I")


class Shape:
    """The layout of one kind of head. Positions count from the start of the IP packet (bytes)."""

    __slots__ = (
        "checksum",
        "end",
        "gso_type",
        "head",
        "ipv4",
        "once",
        "partial",
        "protocol",
        "sequence",
        "tcp",
        "transport",
    )

    def __init__(self, protocol: int, transport: int, end: int, *, ipv4: bool) -> None:
        """Describe heads with the transport header at ``transport`` and the body at ``end``."""
        self.ipv4 = ipv4
        self.tcp = protocol == TCP
        self.protocol = protocol
        self.transport = transport
        self.end = end
        #: Length of a head.
        self.head = wire.OVERHEAD + end
        #: Where the transport checksum is, from the transport header on and as bytes of a vnet header.
        self.checksum = 16 if self.tcp else 6
        self.partial = vnet.HEADER.pack(vnet.NEEDS_CSUM, 0, 0, 0, transport, self.checksum)
        self.gso_type = (vnet.GSO_TCPV4 if ipv4 else vnet.GSO_TCPV6) if self.tcp else vnet.GSO_UDP_L4
        #: What to add to a head, taken as one integer, to get that of the next segment: per segment, IP ID + 1 and IPv4
        #: checksum - 1; and per byte of body, sequence number + 1.
        self.once = (1 << self._shift(6)) - (1 << self._shift(12)) if ipv4 else 0
        self.sequence = 1 << self._shift(transport + 8) if self.tcp else 0

    def _shift(self, end: int) -> int:
        return 8 * (self.end - end)

    def most(self, head: bytes, step: int) -> int:
        """Return how many segments, this one included, are reached by adding before a field would run over."""
        most = 1 << 32
        if self.tcp:
            at = 1 + self.transport + 4
            most = ((1 << 32) - 1 - _LONG.unpack_from(head, at)[0]) // step + 1
        if self.ipv4:
            most = min(most, 0x10000 - _WORD.unpack_from(head, 5)[0], _WORD.unpack_from(head, 11)[0] + 1)
        return most

    def derive(self, head: bytes, grow: int, steps: int = 0, ahead: int = 0, flags: int | None = None) -> bytes:
        """Return the head of another segment of the same flow.

        Its body is ``grow`` bytes longer, it comes ``steps`` packets and ``ahead`` bytes later, and it has these TCP
        flags, or the same. The IPv4 header checksum is made anew.
        """
        new = bytearray(head)
        if self.ipv4:
            length, ident = _WORD.unpack_from(head, 3)[0], _WORD.unpack_from(head, 5)[0]
            _WORD.pack_into(new, 3, length + grow)
            _WORD.pack_into(new, 5, (ident + steps) & 0xFFFF)
            new[11] = new[12] = 0
            _WORD.pack_into(new, 11, checksum.header(new[1 : 1 + self.transport]))
        else:
            _WORD.pack_into(new, 5, _WORD.unpack_from(head, 5)[0] + grow)
        at = 1 + self.transport
        if self.tcp:
            sequence = _LONG.unpack_from(head, at + 4)[0]
            _LONG.pack_into(new, at + 4, (sequence + ahead) & 0xFFFFFFFF)
            if flags is not None:
                new[at + 13] = flags
        else:
            _WORD.pack_into(new, at + 4, _WORD.unpack_from(head, at + 4)[0] + grow)
        at += self.checksum
        _WORD.pack_into(new, at, checksum.add(_WORD.unpack_from(head, at)[0], grow))
        return bytes(new)

    def pseudo(self, head: bytes, body: int) -> int:
        """Return the sum of the pseudo header for a body of so many bytes."""
        addresses = head[13:21] if self.ipv4 else head[9:41]
        return checksum.pseudo(addresses, self.protocol, self.end - self.transport + body)


def locate(data: bytes, at: int) -> Shape | None:
    """Return the shape of the IP packet at ``data[at:]``.

    None when it is not plain TCP or UDP: whole, the transport header right after the IP header, all lengths right.
    """
    size = len(data) - at
    if size < _IPV4_HEADER:
        return None
    first = data[at]
    if 0x45 <= first <= 0x4F:
        fragment = (data[at + 6] << 8 | data[at + 7]) & _FRAGMENT
        if fragment or (data[at + 2] << 8 | data[at + 3]) != size:
            return None
        return transport(data, at, data[at + 9], (first & 0x0F) * 4, ipv4=True)
    if first >> 4 != 6 or size < _IPV6_HEADER or (data[at + 4] << 8 | data[at + 5]) + _IPV6_HEADER != size:
        return None
    return transport(data, at, data[at + 6], _IPV6_HEADER, ipv4=False)


def transport(data: bytes, at: int, protocol: int, start: int, *, ipv4: bool) -> Shape | None:
    """Return the shape of the packet at ``data[at:]`` with the transport header at ``start``, None if it is broken."""
    room = len(data) - at - start
    where = at + start
    if protocol == TCP:
        if room < _TCP_HEADER:
            return None
        header = (data[where + 12] >> 4) * 4
        if not _TCP_HEADER <= header <= room:
            return None
    elif protocol == UDP:
        header = _UDP_HEADER
        if room < header or (data[where + 4] << 8 | data[where + 5]) != room:
            return None
    else:
        return None
    return _shape(protocol, start, start + header, ipv4)


@lru_cache(maxsize=512)
def _shape(protocol: int, start: int, end: int, ipv4: bool) -> Shape:  # noqa: FBT001 - a cache wants plain arguments
    return Shape(protocol, start, end, ipv4=ipv4)
