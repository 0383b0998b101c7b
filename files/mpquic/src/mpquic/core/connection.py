# SPDX-License-Identifier: GPL-3.0-or-later
"""What the core needs of a QUIC connection, without knowing who implements it.

``seal`` and ``open`` are the data path: an implementation may replace them for packets that hold nothing but DATAGRAM
frames, as long as every other packet takes the general way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.ackclock import AckClock
    from mpquic.core.types import Address, Arrival, Datagram


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete and the peer is who it should be."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over: no more datagrams, no more payloads."""

    reason: str
    by_peer: bool


@dataclass(frozen=True, slots=True)
class CidIssued:
    """Datagrams to this connection id belong to this connection."""

    cid: bytes


@dataclass(frozen=True, slots=True)
class CidRetired:
    """A connection id that is no longer in use."""

    cid: bytes


@dataclass(frozen=True, slots=True)
class ProbeAcked:
    """A probe of this size (bytes of UDP payload) reached the peer."""

    size: int


Event = Established | Closed | CidIssued | CidRetired | ProbeAcked


class Connection(Protocol):
    """One QUIC connection. Nothing it is given may raise; faults come as a Closed event."""

    @property
    def session(self) -> str:
        """A random id of this connection, the same at both ends."""

    @property
    def clock(self) -> AckClock:
        """What acknowledgements say."""

    @property
    def key_updates(self) -> int:
        """How often the keys of this connection were updated, whoever began it."""

    @property
    def congestion_controlled(self) -> bool:
        """Tell whether a congestion controller of this connection reacts to loss."""

    @property
    def max_payload(self) -> int:
        """Largest DATAGRAM payload that fits one packet to this peer (bytes). Follows set_datagram_size()."""

    @property
    def datagram_size(self) -> int:
        """Largest UDP payload that is sent to this peer (bytes), probes apart."""

    def set_datagram_size(self, size: int) -> None:
        """Send UDP payloads of at most ``size`` bytes from now on (1200 or more)."""

    def probe(self, size: int) -> None:
        """Send a PING padded to ``size`` bytes of UDP payload with the next seal(); ProbeAcked answers it, or nothing.

        As RFC 8899 section 4.1 wants it, its loss is no sign of congestion and nothing is repeated.
        """

    @property
    def peer(self) -> Address | None:
        """Where datagrams go now."""

    def open(self, arrivals: Sequence[Arrival], now: float) -> list[bytes]:
        """Take what arrived and return the DATAGRAM payloads it held."""

    def seal(self, payloads: Sequence[bytes], now: float) -> tuple[list[Datagram], int]:
        """Protect payloads and whatever else is due; return the UDP datagrams and how many payloads are in them.

        Payloads leave in order; those not taken stay with the caller. Nothing stays inside.
        """

    def events(self) -> list[Event]:
        """Return what happened since the last call."""

    def ping(self) -> None:
        """Ask for an acknowledgement."""

    def close(self, reason: str) -> None:
        """Say goodbye with the next seal()."""

    def fire(self, now: float) -> None:
        """Run timers that are due."""

    def deadline(self) -> float:
        """Return when fire() must be called, infinity for never."""
