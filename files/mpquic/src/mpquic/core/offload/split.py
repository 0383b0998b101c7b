# SPDX-License-Identifier: GPL-3.0-or-later
"""From reads of a TUN device with offload to payloads: what the kernel left to "the hardware" is done here.

One read holds one packet behind a vnet header. A packet of many segments is cut as Linux would have cut it
(tcp_gso_segment, __udp_gso_segment, inet_gso_segment); transport checksums stay open, for whoever writes the packets.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count, repeat
from operator import add
from struct import Struct
from typing import TYPE_CHECKING

from mpquic.core import inner, wire
from mpquic.core.offload import checksum, vnet
from mpquic.core.offload.shape import CWR, FIN, PSH, TCP, UDP, Shape, locate, transport

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

_BARE = bytes([wire.CONTEXT_IP])
_PARTIAL = bytes([wire.CONTEXT_PARTIAL])
_IPV4_HEADER = 20


def split(reads: Sequence[bytes], drops: Counter[str], ends: list[int] | None = None) -> list[bytes]:
    """Return the payloads of what was read; ``ends`` gets how many there are after each read.

    Counted and dropped: packets that are none (see mpquic.core.inner) and vnet headers that make no sense:
    ``vnet_short``, ``vnet_type``, ``vnet_size``, ``vnet_offset``.
    """
    payloads: list[bytes] = []
    for read in reads:
        fault = inner.fault(read, vnet.SIZE) if len(read) > vnet.SIZE else "vnet_short"
        if fault is None:
            if read[1]:
                fault = _cut(read, payloads)
            elif read[0] & vnet.NEEDS_CSUM:
                fault = _lone(read, payloads)
            else:
                payloads.append(_BARE + read[vnet.SIZE :])
        if fault is not None:
            drops[fault] += 1
        if ends is not None:
            ends.append(len(payloads))
    return payloads


def _lone(read: bytes, payloads: list[bytes]) -> str | None:
    """Append a packet whose checksum is open; return why it is refused."""
    shape = locate(read, vnet.SIZE)
    if shape is not None and read[6:10] == shape.partial[6:10]:
        payloads.append(_PARTIAL + read[vnet.SIZE :])
        return None
    # No plain TCP or UDP, but some protocol whose checksum works the same way.
    start, offset = vnet.HEADER.unpack_from(read)[4:]
    if start < _IPV4_HEADER or vnet.SIZE + start + offset + 2 > len(read):
        return "vnet_offset"
    payloads.append(_BARE + checksum.complete(read[vnet.SIZE :], start, offset))
    return None


def _cut(read: bytes, payloads: list[bytes]) -> str | None:
    """Append the segments of one packet; return why it is refused."""
    flags, kind, _linear, step, start, offset = vnet.HEADER.unpack_from(read)
    kind &= ~vnet.GSO_ECN
    if kind not in {vnet.GSO_TCPV4, vnet.GSO_TCPV6, vnet.GSO_UDP_L4}:
        return "vnet_type"
    if step == 0:
        return "vnet_size"
    shape = locate(read, vnet.SIZE)
    plain = shape is not None
    if shape is None and flags & vnet.NEEDS_CSUM and read[vnet.SIZE] >> 4 == 6 and start > 40:
        # IPv6 with extension headers: only the vnet header says where they end.
        shape = transport(read, vnet.SIZE, UDP if kind == vnet.GSO_UDP_L4 else TCP, start, ipv4=False)
    if shape is None or shape.gso_type != kind:
        return "vnet_type"
    if flags & vnet.NEEDS_CSUM and (start, offset) != (shape.transport, shape.checksum):
        return "vnet_offset"
    base = vnet.SIZE + shape.end
    body = len(read) - base
    last = max(0, (body - 1) // step)
    head = _PARTIAL + read[vnet.SIZE : base]
    if not flags & vnet.NEEDS_CSUM:
        at = 1 + shape.transport + shape.checksum
        head = b"".join((head[:at], shape.pseudo(head, body).to_bytes(2), head[at + 2 :]))
    first = len(payloads)
    payloads.extend(map(add, _heads(shape, head, body, step, last), _bodies(read, base, step, last)))
    if not plain:
        payloads[first:] = [
            _BARE + checksum.complete(payload[1:], shape.transport, shape.checksum) for payload in payloads[first:]
        ]
    return None


def _heads(shape: Shape, whole: bytes, body: int, step: int, last: int) -> list[bytes]:
    """Return the heads of all segments of a packet: all but the first and the last by adding to one integer."""
    if last == 0:
        return [whole]
    grow = step - body
    flags = whole[shape.transport + 14] if shape.tcp else 0
    # RFC 3168 section 6.1.2: CWR is said once. PSH and FIN belong to the last byte.
    later = flags & ~CWR
    between = later & ~(FIN | PSH)
    heads = [shape.derive(whole, grow, flags=flags & ~(FIN | PSH))]
    if last > 1:
        second = shape.derive(whole, grow, 1, step, between)
        middle = last - 1
        if middle <= shape.most(second, step):
            numbers = count(int.from_bytes(second), shape.once + shape.sequence * step)
            heads += map(int.to_bytes, numbers, repeat(shape.head, middle))
        else:
            heads += [shape.derive(whole, grow, i, i * step, between) for i in range(1, last)]
    heads.append(shape.derive(whole, -last * step, last, last * step, later))
    return heads


def _bodies(read: bytes, base: int, step: int, last: int) -> Sequence[bytes]:
    return *_layout(step, last).unpack_from(read, base), read[base + last * step :]


@lru_cache(maxsize=256)
def _layout(step: int, segments: int) -> Struct:
    return Struct(f"{step}s" * segments)
