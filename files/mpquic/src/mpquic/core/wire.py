# SPDX-License-Identifier: GPL-3.0-or-later
"""Layouts: the payload of a QUIC DATAGRAM frame, and as much of a QUIC header as routing a datagram needs.

A payload is a variable-length integer, the context id (RFC 9297 section 2.1 without the stream id), and a body. Context
0 carries one bare IP packet, as in RFC 9484 section 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator

    from mpquic.core.types import Arrival

#: Context 0: one IP packet.
CONTEXT_IP = 0
#: Context 6: one TCP or UDP packet whose transport checksum field holds the folded sum of the pseudo header (RFC 9293
#: section 3.1, RFC 768) and nothing else. Whoever hands it on completes the checksum; the AEAD protects it until then.
CONTEXT_PARTIAL = 6
#: Bytes before the IP packet in a DATAGRAM payload.
OVERHEAD = 1
#: Context 2: flags, bucket and sequence number, then a whole payload of context 0 or 6. Of a tunnel over several paths.
CONTEXT_SEQUENCED = 2
#: Flags of context 2: the class; what was numbered before in its bucket is to be waited for; another copy was sent.
SEQUENCED_CLASS = 0x0F
SEQUENCED_ORDERED = 0x10
SEQUENCED_COPY = 0x20
#: Bytes before the IP packet in a DATAGRAM payload of context 2: context 1, flags 1, bucket 1, sequence 4, context 1.
SEQUENCED_OVERHEAD = 8
#: Context 4: how the sender sees the paths of a tunnel.
CONTEXT_STATUS = 4
#: Length of the connection ids this program issues (bytes).
CID_LENGTH = 8
#: RFC 9000 section 14.1: a client's Initial fills a datagram of at least so many bytes.
MIN_INITIAL = 1200
#: QUIC version 1 (RFC 9000).
VERSION_1 = 1

_PREFIX = bytes([CONTEXT_IP])
_LONG = 0x80
_FIXED = 0x40
_TYPE_MASK = 0x30
_V1 = VERSION_1.to_bytes(4, "big")


def wrap(packets: Iterable[bytes]) -> list[bytes]:
    """Return the DATAGRAM payloads of IP packets."""
    prefix = _PREFIX
    return [prefix + packet for packet in packets]


def unwrap(payloads: Iterable[bytes], drops: Counter[str], partial: Callable[[bytes], bytes | None]) -> list[bytes]:
    """Return the IP packets in DATAGRAM payloads.

    ``partial`` completes those of CONTEXT_PARTIAL; what it refuses counts as ``partial``. Other contexts count as
    ``context``, broken ones as ``malformed``.
    """
    packets = []
    for payload in payloads:
        if payload[:1] == _PREFIX:
            packets.append(payload[1:])
            continue
        context, size = varint(payload)
        if size == 0:
            drops["malformed"] += 1
        elif context == CONTEXT_IP:
            packets.append(payload[size:])
        elif context != CONTEXT_PARTIAL:
            drops["context"] += 1
        else:
            packet = partial(payload[size:])
            if packet is None:
                drops["partial"] += 1
            else:
                packets.append(packet)
    return packets


def is_copied(payload: bytes) -> bool:
    """Tell whether other paths carry the same payload."""
    return payload[0] == CONTEXT_SEQUENCED and bool(payload[1] & SEQUENCED_COPY)


def count(arrival: Arrival) -> int:
    """Return the number of datagrams in an arrival; an empty one counts."""
    data, size, _address = arrival
    return -(-len(data) // size) if data else 1


def by_connection(arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    """Return arrivals whose datagrams all begin like their first, up to the end of the connection id.

    Receive offload merges what one address sent, whichever connection it belongs to.
    """
    for arrival in arrivals:
        data, size, address = arrival
        if len(data) <= size:
            yield arrival
            continue
        start = data[1 : 1 + CID_LENGTH]
        starts = data.startswith
        if not data[0] & _LONG and all(starts(start, at) for at in range(1 + size, len(data), size)):
            yield arrival
            continue
        for at in range(0, len(data), size):
            single = data[at : at + size]
            yield single, len(single), address


def varint(data: bytes) -> tuple[int, int]:
    """Return the integer at the start of ``data`` and its length in bytes (RFC 9000 section 16), (0, 0) if cut off."""
    if not data:
        return 0, 0
    size = 1 << (data[0] >> 6)
    if len(data) < size:
        return 0, 0
    return int.from_bytes(data[:size], "big") & ((1 << (8 * size - 2)) - 1), size


@dataclass(frozen=True, slots=True)
class LongHeader:
    """The version-independent part of a long header (RFC 8999 section 5.1), and what a version 1 Initial adds."""

    version: int
    destination: bytes
    source: bytes
    initial: bool = False
    #: Of an Initial: proof of its sender's address, if it was asked for one.
    token: bytes = b""


def is_short(data: bytes) -> bool:
    """Tell whether ``data`` starts with a short header long enough for a connection id of ours."""
    return len(data) > CID_LENGTH and not data[0] & _LONG


def is_initial(data: bytes) -> bool:
    """Tell whether ``data`` starts with a version 1 Initial (RFC 9000 section 17.2.2)."""
    return len(data) > 5 and data[0] & (_LONG | _FIXED | _TYPE_MASK) == _LONG | _FIXED and data[1:5] == _V1


def long_header(data: bytes) -> LongHeader | None:
    """Return the long header at the start of ``data``, or None when there is none or it is cut off."""
    if len(data) < 7 or not data[0] & _LONG:
        return None
    version = int.from_bytes(data[1:5], "big")
    destination_end = 6 + data[5]
    if destination_end >= len(data):
        return None
    source_end = destination_end + 1 + data[destination_end]
    if source_end > len(data):
        return None
    initial = version == VERSION_1 and data[0] & (_FIXED | _TYPE_MASK) == _FIXED
    token = b""
    if initial:
        length, size = varint(data[source_end : source_end + 8])
        token_start = source_end + size
        if size == 0 or len(data) - token_start < length:
            return None
        token = data[token_start : token_start + length]
    return LongHeader(version, data[6:destination_end], data[destination_end + 1 : source_end], initial, token)
