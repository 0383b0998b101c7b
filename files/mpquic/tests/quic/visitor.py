# SPDX-License-Identifier: GPL-3.0-or-later
"""A client by hand: what it says on the control stream, and when, is up to the test."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from listener import Listener
from mpquic.core import messages
from mpquic.core.messages import Confirm, Hello, Register, Registered
from simulation import PREFIXES, SERVER, arrivals

if TYPE_CHECKING:
    from mpquic.core.guest import Guest
    from mpquic.core.server import ServerTunnel
    from mpquic.core.types import Address
    from mpquic.quic import ClientEndpoint
    from simulation import World

ID = bytes(range(messages.ID_LENGTH))
HELLO = Hello(*messages.VERSIONS).encode()
REGISTER = Register(ID, 0, PREFIXES).encode()
CONFIRM = Confirm(ID).encode()
#: Something that is not this client's.
FOREIGN = Register(ID, 0, (ip_network("10.200.9.1/32"),)).encode()


class Visitor(Listener):
    """A connection of its own to the server of a simulation, beside whatever goes on there."""

    def __init__(
        self, world: World, address: Address = ("198.51.100.9", 9), endpoint: ClientEndpoint | None = None
    ) -> None:
        """Complete the handshake."""
        assert world.server is not None
        self.server: ServerTunnel = world.server
        self.address = address
        self._world = world
        super().__init__((endpoint or world.client_endpoint).connect(SERVER, world.now))
        before = set(self.server._board.guests)
        self.carry()
        (self.guest,) = self.server._board.guests - before or {None}
        self.carry()
        self.carry()

    guest: Guest | None

    def carry(self, *payloads: bytes) -> list[bytes]:
        """Exchange what there is to say; return the inner packets that the server took."""
        now = self._world.now
        sealed = self.link.seal(payloads, now)[0]
        frames = self.server.receive(arrivals(self.address, *[data for data, _to in sealed]), now)
        answers = [data for data, to in self.server.flush(now) if to == self.address]
        self.link.open(arrivals(SERVER, *answers), now)
        self.listen()
        return [b"".join(frame) for frame in frames]

    def say(self, *words: bytes) -> None:
        """Say something on the control stream, and listen to the answer."""
        self.link.control(b"".join(words))
        self.carry()

    @property
    def registered(self) -> bool:
        """Tell whether the server has said so."""
        return any(isinstance(message, Registered) for message in self.heard)
