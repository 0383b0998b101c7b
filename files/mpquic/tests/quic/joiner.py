# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths of clients by hand, and their server, in virtual time: who joins what, and when, is up to the test."""

from __future__ import annotations

import functools
from ipaddress import ip_network
from typing import TYPE_CHECKING

from listener import Listener
from mpquic.core import messages, wire
from mpquic.core.messages import Confirm, Hello, Join, Joined, PolicyUpdate, Refused
from mpquic.core.multipath import policy_wire
from mpquic.core.multipath.policy import PathSpec, Policy, TrafficClass
from mpquic.core.offload import BareCodec
from mpquic.core.roster import Member, Roster
from mpquic.core.server import ServerTunnel
from mpquic.core.types import Marked
from mpquic.quic import ClientEndpoint, ServerEndpoint, Trust, spki_pin
from simulation import PREFIXES, SERVER, SERVER_TUN, Simulation, arrivals, identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mpquic.core.types import Address, Network
    from mpquic.quic import Identity

HELLO = Hello(messages.MULTIPATH, messages.MULTIPATH).encode()
#: Ids of two starts of a client.
FIRST, SECOND = bytes(range(16)), bytes(range(16, 32))
CLASSES = (TrafficClass("default", "priority"),)
OTHER_PREFIXES = (ip_network("10.200.2.1/32"), ip_network("172.16.2.0/30"))


def policy(*numbers: int, generation: int = 1, classes: Sequence[TrafficClass] = CLASSES) -> Policy:
    """Return a policy for these paths, the lower numbers first."""
    paths = [PathSpec(number, f"wan{number}", number, number, 1, None) for number in numbers]
    return Policy(generation, tuple(paths), tuple(classes))


class Joiner(Listener):
    """One connection of a client."""

    def __init__(self, place: Place, endpoint: ClientEndpoint, address: Address) -> None:
        super().__init__(endpoint.connect(SERVER, place.now))
        self.place = place
        self.address = address
        self.id = place.random.randbytes(messages.ID_LENGTH)
        #: DATAGRAM payloads that came.
        self.got: list[bytes] = []
        #: Nothing passes.
        self.cut = False

    def join(
        self,
        path: int,
        wanted: Policy | bytes,
        *,
        session: bytes = FIRST,
        prefixes: Sequence[Network] = PREFIXES,
        hello: bytes = HELLO,
    ) -> None:
        """Ask to be a path."""
        data = wanted if isinstance(wanted, bytes) else policy_wire.encode(wanted)
        self.link.control(hello + Join(self.id, session, path, tuple(prefixes), data).encode())
        self.place.run(0.1)

    def confirm(self) -> None:
        self.link.control(Confirm(self.id).encode())
        self.place.run(0.1)

    def update(self, wanted: Policy | bytes) -> None:
        """Say POLICY."""
        data = wanted if isinstance(wanted, bytes) else policy_wire.encode(wanted)
        self.link.control(PolicyUpdate(data).encode())
        self.place.run(0.1)

    def send(self, *payloads: bytes) -> None:
        """Send DATAGRAM payloads."""
        self.place.carry(self, payloads)
        self.place.run(0.05)

    def packets(self) -> list[bytes]:
        """Return the inner packets that came, and forget them."""
        got, self.got = self.got, []
        return [payload[wire.SEQUENCED_OVERHEAD :] for payload in got if payload[0] == wire.CONTEXT_SEQUENCED]

    @property
    def joined(self) -> Joined | None:
        return next((message for message in self.heard if isinstance(message, Joined)), None)

    @property
    def refused(self) -> Refused | None:
        return next((message for message in self.heard if isinstance(message, Refused)), None)

    def open(self, data: bytes) -> None:
        """Take a datagram of the server."""
        now = self.place.now
        self.got += self.link.open(arrivals(SERVER, data), now)
        self.listen()


class Place(Simulation):
    """A server with the members ``client1`` (key ``a``) and ``client2`` (key ``b``)."""

    def __init__(self, folder: Path, members: Sequence[Member] = (), delay: float = 0.01) -> None:
        super().__init__(seed=1)
        self._folder = folder
        self._keys: dict[str, tuple[Identity, str]] = {}
        self._delay = delay
        own = self.key("server")[0]
        self.members = list(members) or [
            Member("client1", PREFIXES, frozenset({self.key("a")[1]})),
            Member("client2", OTHER_PREFIXES, frozenset({self.key("b")[1]})),
        ]
        self.listener = ServerEndpoint(identity=own, tun_mtu=1300)
        self.server = ServerTunnel(self.listener, Roster(self.members), self.now, own=(SERVER_TUN,))
        self.server.attach(BareCodec())
        #: Inner packets that the server wrote to its TUN.
        self.at_server: list[bytes] = []
        self.joiners: list[Joiner] = []

    def key(self, name: str) -> tuple[Identity, str]:
        """Return a key, and its pin."""
        if name not in self._keys:
            made, certificate = identity(self._folder, name)
            self._keys[name] = made, spki_pin(certificate)
        return self._keys[name]

    def call_in(self, key: str = "a") -> Joiner:
        """Let somebody connect, from an address of its own."""
        endpoint = ClientEndpoint(trust=Trust(pins=(self.key("server")[1],)), identity=self.key(key)[0], tun_mtu=1300)
        number = len(self.joiners)
        joiner = Joiner(self, endpoint, (f"198.51.{number >> 8}.{number & 255}", 50000))
        self.joiners.append(joiner)
        self.run(0.1)
        return joiner

    def path(self, number: int, wanted: Policy, *, session: bytes = FIRST, key: str = "a", **more: object) -> Joiner:
        """Return a connection that is a path of a tunnel."""
        joiner = self.call_in(key)
        joiner.join(number, wanted, session=session, **more)  # type: ignore[arg-type]
        assert joiner.joined is not None, joiner.heard
        joiner.confirm()
        return joiner

    def down(self, *packets: bytes) -> None:
        """Send packets from the server's TUN."""
        self.server.send(packets, self.now)
        self.run(0.05)

    def took(self) -> list[bytes]:
        """Return what the server wrote to its TUN since the last call."""
        took, self.at_server = self.at_server, []
        return took

    def carry(self, joiner: Joiner, payloads: Sequence[bytes] = ()) -> None:
        """Bring to the server what a connection has to say."""
        for data, _to in joiner.link.seal(payloads, self.now)[0]:
            if not joiner.cut:
                self.call(self._delay, functools.partial(self._arrive, joiner.address, data))

    def _deadline(self) -> float:
        return min([self.server.deadline(), *[joiner.link.deadline() for joiner in self.joiners]])

    def _fire(self) -> None:
        for joiner in self.joiners:
            joiner.link.fire(self.now)
        self.server.fire(self.now)
        self.at_server += [b"".join(frame) for frame in self.server.answers()]

    def _settle(self) -> None:
        for joiner in self.joiners:
            self.carry(joiner)
        places = {joiner.address: joiner for joiner in self.joiners}
        for data, to in self.server.flush(self.now):
            joiner = places[to.address if isinstance(to, Marked) else to]
            if not joiner.cut:
                self.call(self._delay, functools.partial(joiner.open, data))
        self._note("server", self.server.changes())

    def _arrive(self, source: Address, data: bytes) -> None:
        frames = self.server.receive(arrivals(source, data), self.now)
        self.at_server += [b"".join(frame) for frame in frames]


def numbered(packets: Sequence[bytes], first: int, *, bucket: int = 7, flags: int = 0) -> list[bytes]:
    """Return payloads of context 2."""
    head = bytes([wire.CONTEXT_SEQUENCED, flags, bucket])
    return [head + (first + at).to_bytes(4, "big") + b"\0" + packet for at, packet in enumerate(packets)]
