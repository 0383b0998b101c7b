# SPDX-License-Identifier: GPL-3.0-or-later
"""A server and several clients on one port, in virtual time, with the datagrams between them in the test's hands."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from mpquic.core.client import ClientTunnel, Settings
from mpquic.core.offload import BareCodec
from mpquic.core.roster import Member, Roster
from mpquic.core.server import ServerTunnel
from mpquic.core.types import Marked
from mpquic.quic import ClientEndpoint, ServerEndpoint, Trust, spki_pin
from simulation import SERVER, arrivals, identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Interface, IPv6Interface
    from pathlib import Path

    from mpquic.core.types import Address, Datagram
    from mpquic.quic import Identity


class Party:
    """A client: its tunnel, where it is, what it got out of the tunnel, and how what it sent was marked."""

    def __init__(self, tunnel: ClientTunnel, address: Address) -> None:
        self.tunnel = tunnel
        self.address = address
        self.got: list[bytes] = []
        self.sent_tos: list[int] = []
        self.received_tos: list[int] = []


class Crowd:
    """One server, which owns the key ``server``; everybody else has the key ``site`` unless told otherwise."""

    def __init__(self, folder: Path, members: Sequence[Member], own: Sequence[IPv4Interface | IPv6Interface]) -> None:
        self.now = 1000.0
        self._folder = folder
        self._random = random.Random(1)
        self._keys: dict[str, tuple[Identity, str]] = {}
        self.listener = ServerEndpoint(identity=self._key("server")[0], tun_mtu=1300)
        self.server = ServerTunnel(self.listener, Roster(self.known(members)), self.now, own=own)
        self.server.attach(BareCodec())
        self.got: list[bytes] = []
        self.parties: list[Party] = []
        self._ports = 50000
        #: Bytes of an IPv4 packet that the path carries.
        self.mtu = 1500

    def known(self, members: Sequence[Member], key: str = "site") -> list[Member]:
        """Return members with a key."""
        return [replace(member, pins=frozenset({self._key(key)[1]})) for member in members]

    def join(self, settings: Settings, key: str = "site") -> Party:
        """Let a client connect."""
        trust = Trust(pins=(self._key("server")[1],))
        endpoint = ClientEndpoint(trust=trust, identity=self._key(key)[0], tun_mtu=1300)
        tunnel = ClientTunnel(endpoint.connect, self._random.randbytes, self.now, settings)
        tunnel.attach(BareCodec())
        self._ports += 1
        party = Party(tunnel, ("198.51.100.1", self._ports))
        self.parties.append(party)
        tunnel.socket_ready(SERVER, self.now)
        self.run(0.5)
        return party

    def run(self, seconds: float) -> None:
        """Carry datagrams for a while, in steps of 5 ms."""
        for _ in range(round(seconds / 0.005)):
            self.now += 0.005
            for party in self.parties:
                party.tunnel.fire(self.now)
                datagrams = party.tunnel.flush(self.now)
                party.sent_tos += _tos(datagrams)
                batch = arrivals(party.address, *self._passing(datagrams))
                self.got += [b"".join(frame) for frame in self.server.receive(batch, self.now)]
            self.server.fire(self.now)
            datagrams = self.server.flush(self.now)
            self.server.changes()
            for party in self.parties:
                mine = [(data, to) for data, to in datagrams if _plain(to) == party.address]
                party.received_tos += _tos(mine)
                batch = arrivals(SERVER, *self._passing(mine))
                party.got += [b"".join(frame) for frame in party.tunnel.receive(batch, self.now)]

    def up(self, *parties: Party, packet: bytes) -> None:
        """Send a packet from each of these clients."""
        for party in parties:
            party.tunnel.send([packet], self.now)
        self.run(0.02)

    def down(self, *packets: bytes) -> None:
        """Send packets from the server's TUN."""
        self.server.send(packets, self.now)
        self.run(0.02)

    def took(self) -> list[list[bytes]]:
        """Return what each client got since the last call."""
        found = [party.got for party in self.parties]
        for party in self.parties:
            party.got = []
        return found

    def _passing(self, datagrams: Sequence[Datagram]) -> list[bytes]:
        return [data for data, _to in datagrams if len(data) + 28 <= self.mtu]

    def _key(self, name: str) -> tuple[Identity, str]:
        if name not in self._keys:
            made, certificate = identity(self._folder, name)
            self._keys[name] = made, spki_pin(certificate)
        return self._keys[name]


def _plain(to: Address) -> Address:
    return to.address if isinstance(to, Marked) else to


def _tos(datagrams: Sequence[Datagram]) -> list[int]:
    return [to.tos if isinstance(to, Marked) else 0 for _data, to in datagrams]
