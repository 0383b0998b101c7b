# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's end of a tunnel over one path: an uplink with the TUN's packets on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.core import gate, messages, wire
from mpquic.core.fit import Fit
from mpquic.core.icmp import TooBig
from mpquic.core.lane import Lane
from mpquic.core.marking import COPY, marking
from mpquic.core.offload.legacy import LegacyCodec
from mpquic.core.path import Path
from mpquic.core.prefixes import PrefixTable
from mpquic.core.registration import ClientRegistration
from mpquic.core.types import Counters
from mpquic.core.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

    from mpquic.core.connection import Connection
    from mpquic.core.dial import Dial
    from mpquic.core.gate import Gate
    from mpquic.core.offload import Codec
    from mpquic.core.types import Address, Frame, Network


@dataclass(frozen=True, slots=True)
class Settings:
    """What is fixed for the life of a client."""

    #: The TUN's address with its prefix length, None where only the wire matters.
    tun: IPv4Interface | IPv6Interface | None = None
    #: What it registers: the TUN's address as a single address, a second one if there is, then the networks behind it.
    prefixes: tuple[Network, ...] = ()
    #: That is all that may come out of this end of the tunnel.
    complete: bool = True
    #: Bits per second of the link to the server, None if unknown.
    rate: int | None = None
    #: The server knows no registration: it is told the TUN's address.
    legacy: bool = False
    #: The TUN's IPv6 address beside an IPv4 one.
    tun6: IPv6Interface | None = None
    #: The server's address on its TUN, where it does not follow from ``tun``.
    peer: IPv4Address | None = None
    #: Datagrams carry the DSCP of the packet inside. What all have in common is the socket's to set.
    copy_dscp: bool = False

    def gates(self) -> tuple[Gate, Gate]:
        """Return what the TUN may give, and what the server may send."""
        if not self.complete:
            return gate.OPEN, gate.OPEN
        table = PrefixTable([(prefix, True) for prefix in self.prefixes])
        return gate.towards_server(table), gate.from_server(table)

    def path(self, number: int, name: str, rate: int | None, *, front: int, link: int = 0) -> Path:
        """Return a path of this client; see Lane for ``front``."""
        lane = Lane(Counters(), rate, front=front)
        if self.copy_dscp:
            lane.marking = marking(COPY, front=front)
        own = [tun for tun in (self.tun, self.tun6) if tun is not None]
        return Path(number, name, lane, Fit(lane, TooBig(*own, peer=self.peer)), link=link)


class ClientTunnel(Uplink):
    """State machine of a client, driven by (now, event). Implements mpquic.core.port.Tunnel, and is its only port."""

    def __init__(
        self,
        connect: Callable[[Address, float], Connection],
        random: Callable[[int], bytes],
        now: float,
        settings: Settings,
    ) -> None:
        """Start by asking for a socket; see Uplink."""
        path = settings.path(0, "", settings.rate, front=0 if settings.legacy else wire.OVERHEAD)
        super().__init__(connect, random, now, path)
        self._settings = settings
        self.counters = path.counters
        self._outbound, self._lane.gate = settings.gates()
        self._codec_header = 0

    @property
    def ports(self) -> tuple[ClientTunnel]:
        """Itself."""
        return (self,)

    def touched(self) -> tuple[ClientTunnel]:
        """Return itself."""
        return (self,)

    @property
    def limit(self) -> float | None:
        """Bits per second to which the circuit breaker holds this end, None while it is closed."""
        return self._lane.limit

    @property
    def mtu(self) -> int | None:
        """Bytes of an inner packet that fit, None while unknown: then whatever the TUN has is right."""
        return self._fit.mtu

    def totals(self) -> Counters:
        """Return what was carried and refused since the start."""
        return self.counters

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self._codec_header = codec.header
        self._lane.codec = LegacyCodec(codec) if self._settings.legacy else codec

    def send(self, reads: Sequence[bytes], now: float) -> None:
        """Take reads of the TUN."""
        passing = self._outbound.passing(reads, self._codec_header, self.counters.drops)
        self._lane.offer(passing, self.path.connection, now)

    def answers(self) -> list[Frame]:
        """Return what to write to the TUN: answers to packets that did not fit."""
        return self._fit.answers()

    def _registration(self) -> ClientRegistration | None:
        if self._settings.legacy:
            return None
        return ClientRegistration(self._random(messages.ID_LENGTH), self._settings.prefixes)

    def _lasting(self) -> bool:
        # Servers of the older protocol need not follow a client.
        return not self._settings.legacy and super()._lasting()

    def _accept(self, dial: Dial, payloads: Sequence[bytes], now: float) -> list[Frame]:
        del dial, now
        return self._lane.accept(payloads)

    def _took_over(self, dial: Dial, now: float) -> None:
        if self._settings.legacy and self._settings.tun is not None and self._settings.tun.version == 4:
            self._ready += dial.connection.seal([self._settings.tun.ip.packed], now)[0]
