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
    from mpquic.core.wire import LongHeader

#: Reason in the server's CONNECTION_CLOSE when another connection took the place of this one.
SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the peer proved to be in the handshake."""

    #: Application protocol that was agreed upon (ALPN, RFC 7301).
    protocol: str
    #: ``sha256:<hex>`` of the public key whose possession it proved, None when it sent no certificate.
    pin: str | None = None
    #: DNS names that a trusted CA vouches for, and why none does.
    names: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete. A client's server is who it should be; a server has yet to look who its client is."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class ControlData:
    """The next bytes of the control stream."""

    data: bytes


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


Event = Established | ControlData | Closed | CidIssued | CidRetired | ProbeAcked


class Connection(Protocol):
    """One QUIC connection. Nothing it is given may raise; faults come as a Closed event."""

    @property
    def session(self) -> str:
        """A random id of this connection, the same at both ends."""

    @property
    def claimed(self) -> str | None:
        """``sha256:<hex>`` of the key in the certificate that the peer showed, proved or not. For the log only."""

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

    def control(self, data: bytes) -> None:
        """Append to the control stream; it leaves with the next seal() calls. Only once Established was told."""

    def ping(self) -> None:
        """Ask for an acknowledgement."""

    def move(self) -> None:
        """Go on from another address of this host: what is sent next is the first that the peer hears from there."""

    def close(self, reason: str) -> None:
        """Say goodbye with the next seal()."""

    def fire(self, now: float) -> None:
        """Run timers that are due."""

    def deadline(self) -> float:
        """Return when fire() must be called, infinity for never."""


@dataclass(frozen=True, slots=True)
class Retried:
    """What a Retry token proves: the connection ids that transport parameters must repeat (RFC 9000 section 7.3)."""

    #: Destination of the client's very first Initial, and the source of our Retry.
    original: bytes
    source: bytes


class Listener(Protocol):
    """What a server needs to begin connections."""

    def accept(self, destination: bytes, now: float, retried: Retried | None = None) -> Connection:
        """Return the server's side of a connection whose Initial goes to the connection id ``destination``."""

    @property
    def anchors(self) -> bytes:
        """What names of peers are vouched for by: with other anchors, the peers' names may be others."""

    def identify(self, connection: Connection) -> Identity:
        """Return who the peer of an established connection is, whoever it was to the listener that accepted it."""

    def retry(self, header: LongHeader, address: Address, now: float) -> bytes:
        """Return a Retry packet, which asks the sender of an Initial to prove its address (RFC 9000 section 8.1.2)."""

    def redeem(self, header: LongHeader, address: Address, now: float) -> Retried | None:
        """Return what the token of an Initial proves, None when it proves nothing about this address and moment."""

    def versions(self, header: LongHeader) -> bytes:
        """Return a Version Negotiation packet (RFC 9000 section 17.2.1)."""
