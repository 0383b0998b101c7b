# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of several tunnels carried a flow last: its answers go back that way.

Several tunnels of one site, one per class of traffic, have the same networks behind them. The site decides which tunnel
a flow takes; the server classifies nothing, it remembers. An entry is made by what a peer sends, and kept by use in
either direction. Nothing depends on it but the way: without an entry a packet goes to the first tunnel that is up.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mpquic.core.types import Frame

#: Flows that are remembered for one set of peers that share prefixes, about 300 bytes each. The oldest make room.
FLOWS = 16384
#: Seconds without a packet after which a flow is forgotten. The next one of its peer brings it back.
AGE = 3600.0
#: Seconds in which the packets of a flow are only looked up, so that a fast one costs little.
FRESH = 1.0
#: Protocols whose headers begin with the two ports: TCP, UDP, SCTP.
_PORTS = frozenset({6, 17, 132})
_FRAGMENT = 44
#: More fragments, and the fragment offset (RFC 791 section 3.1).
_FRAGMENTED = 0x3F
#: Bytes of a key without ports: protocol and addresses.
_PAIR_4, _PAIR_6 = 9, 33


class _Carrier(NamedTuple):
    name: str
    at: float


class FlowMemory:
    """Maps flows to the names of the peers that carried them."""

    def __init__(self, size: int = FLOWS, age: float = AGE) -> None:
        """Remember so many flows for so long (seconds)."""
        self._size = size
        self._age = age
        #: By key of a packet towards the peer, the oldest first.
        self._flows: OrderedDict[bytes, _Carrier] = OrderedDict()

    def __len__(self) -> int:
        """Return how many flows are remembered."""
        return len(self._flows)

    def learn(self, data: bytes, at: int, name: str, now: float) -> None:
        """Note that the peer ``name`` sent the well-formed IP packet at ``data[at:]``, or one of many segments."""
        flow = turned(key(data, at))
        found = self._flows.get(flow)
        if found is not None and found.name == name and now - found.at < FRESH:
            return
        self._put(flow, name, now)
        pair = _pair(flow)
        if pair != flow:
            # Fragments of its answers have no ports.
            self._put(pair, name, now)

    def carrier(self, data: bytes, at: int, now: float) -> str | None:
        """Return the peer that carried the flow of the IP packet at ``data[at:]`` last, None when that is not known.

        Its addresses must be whole.
        """
        flow = key(data, at)
        found = self._flows.get(flow)
        if found is None or now - found.at > self._age:
            return None
        if now - found.at >= FRESH:
            self._put(flow, found.name, now)
        return found.name

    def _put(self, flow: bytes, name: str, now: float) -> None:
        flows = self._flows
        flows[flow] = _Carrier(name, now)
        flows.move_to_end(flow)
        oldest = next(iter(flows.values())).at
        while len(flows) > self._size or now - oldest > self._age:
            flows.popitem(last=False)
            oldest = next(iter(flows.values())).at


def key(data: bytes, at: int) -> bytes:
    """Return what tells the flow of a packet with whole addresses: protocol, source, destination, and ports if any."""
    if data[at] >> 4 == 4:
        protocol, addresses = data[at + 9 : at + 10], data[at + 12 : at + 20]
        start = at + 4 * (data[at] & 0x0F)
        whole = not (data[at + 6] & _FRAGMENTED or data[at + 7])
    else:
        protocol, addresses = data[at + 6 : at + 7], data[at + 8 : at + 40]
        start, whole = at + 40, True
        if protocol[0] == _FRAGMENT:
            # RFC 8200 section 4.5: the fragment header begins with what follows it.
            protocol, whole = data[start : start + 1] or protocol, False
    ports = data[start : start + 4]
    if whole and protocol[0] in _PORTS and len(ports) == 4:
        return protocol + addresses + ports
    return protocol + addresses


def turned(flow: bytes) -> bytes:
    """Return the key of the other direction."""
    pair = _pair(flow)
    half = 1 + len(pair) // 2
    ports = flow[len(pair) :]
    return flow[:1] + pair[half:] + pair[1:half] + ports[2:] + ports[:2]


def packet(frame: Frame, at: int) -> bytes:
    """Return the start of a write to the TUN, up to the ports at least; ``at`` is where its packet begins."""
    first = frame[0]
    # Writes are gathered: headers, then bodies; or one byte of the vnet header comes with the packet.
    return bytes(first) if len(first) >= at + 44 or len(frame) == 1 else b"".join(frame[:2])


def _pair(flow: bytes) -> bytes:
    """Return a key without its ports."""
    return flow[:_PAIR_4] if len(flow) <= _PAIR_4 + 4 else flow[:_PAIR_6]
