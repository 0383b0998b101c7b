# SPDX-License-Identifier: GPL-3.0-or-later
"""Names shared by the core. Times are seconds on any monotonic clock, passed in by the caller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple

#: RFC 8200 section 5: the least MTU of what carries IPv6 (bytes).
IPV6_MIN_MTU = 1280

#: A socket address as the socket module gives it: (host, port) or, for IPv6, (host, port, flow, scope). That of a
#: server's peer has the own port at its end: a path has two ends (RFC 9000 section 9), and a server may have several.
Address = tuple[Any, ...]
Network = IPv4Network | IPv6Network
#: A UDP payload and where it goes to; Marked where its DSCP is not 0.
Datagram = tuple[bytes, Address]
#: What one receive call gave: datagrams of one size one after the other, the last may be shorter; their size; their
#: source. A single datagram has its own length as the size.
Arrival = tuple[bytes, int, Address]
#: What one write to a TUN device takes, gathered from these buffers (writev(2)).
Frame = Sequence[bytes | bytearray | memoryview]


class Marked(NamedTuple):
    """An address, and the octet of the IPv4 TOS or IPv6 traffic class field of what goes there (RFC 2474 section 3)."""

    address: Address
    tos: int


@dataclass(slots=True)
class Counters:
    """What a tunnel has carried since the daemon started; ``drops`` counts what it refused, by reason."""

    tx_packets: int = 0
    rx_packets: int = 0
    tx_bytes: int = 0
    rx_bytes: int = 0
    drops: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counters) -> None:
        """Add what another counted."""
        self.tx_packets += other.tx_packets
        self.rx_packets += other.rx_packets
        self.tx_bytes += other.tx_bytes
        self.rx_bytes += other.rx_bytes
        self.drops.update(other.drops)


@dataclass(frozen=True, slots=True)
class Change:
    """A state was entered: one line of log. ``failed`` marks what an operator should see at level error."""

    state: str
    reason: str
    failed: bool = False
    detail: str = ""


def text(address: Address | None) -> str:
    """Return a socket address as people write it."""
    if address is None:
        return "-"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
