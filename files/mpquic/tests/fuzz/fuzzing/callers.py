# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that go a part of the way, so that what is fed to a server meets connections in every state."""

from __future__ import annotations

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.core import messages, wire
from mpquic.core.messages import Confirm, Hello, Join, Register
from mpquic.core.multipath import policy_wire
from mpquic.core.multipath.policy import PathSpec, Policy, TrafficClass
from mpquic.core.roster import Member
from mpquic.quic import ClientEndpoint, Trust, private, seal, spki_pin

from fuzzing import corpus
from fuzzing.control_stream import ID
from fuzzing.control_stream import PREFIXES as OWNED
from fuzzing.mutation import Mutator

sys.path.append(str(Path(__file__).parents[2] / "quic"))

from simulation import SERVER, arrivals, identity

if TYPE_CHECKING:
    from random import Random

    from mpquic.core.types import Address, Frame
    from simulation import World

    from fuzzing.decoder import Input

HALF_OPEN, HANDSHAKEN, REGISTERED, JOINED = STATES = ("half-open", "handshaken", "registered", "joined")
#: Inputs in the life of one, before the server has heard enough of it.
_LIFE = 100
_LONGEST = 1200
#: Addresses of its own, and of the client whose tunnel is up.
_OWN, _OTHERS = b"\x0a\xc8\x04\x01", b"\x0a\xc8\x01\x01"
_OPENING = Hello(*messages.VERSIONS).encode() + Register(ID, 0, OWNED).encode()
_POLICY = Policy(
    1,
    tuple([PathSpec(number, f"wan{number}", number, 0, 1, None) for number in (1, 2)]),
    (TrafficClass("default", "balanced", copies=2),),
)


class Callers:
    """One client after the other, each in a state of its own."""

    def __init__(self, rng: Random, world: World, folder: Path) -> None:
        """Make a peer of the server, and somebody with no key."""
        files, certificate = identity(folder, "caller")
        #: What the server has to know.
        self.member = Member("caller", OWNED, frozenset({spki_pin(certificate)}))
        trust = Trust(pins=tuple(world.client_endpoint._pins))
        self._endpoints = [ClientEndpoint(trust=trust, identity=each, tun_mtu=1300) for each in (files, None)]
        self._rng = rng
        self._world = world
        self._fed = 0
        samples = {name: list(corpus.load(name).values()) for name in ("frames", "control-stream", "join", "payloads")}
        self._mutators = {name: Mutator(rng, found, longest=_LONGEST) for name, found in samples.items()}
        self.state = ""
        self.address: Address = ("", 0)
        self.original = self.source = b""
        self._link: Any = None

    @property
    def guest(self) -> Any:
        """Return what the server has of the present one, None when that is over."""
        return self._guest if self._guest is not None and not self._guest.gone else None

    _guest: Any = None

    def next(self) -> bool:
        """Let another one call when this one is over or had its time; tell whether it got where it wanted."""
        self._fed += 1
        if self.guest is not None and self._fed % _LIFE:
            return False
        number = self._fed & 0xFFFF
        self.state = STATES[self._rng.randrange(4)]
        self.address = (f"203.1.{number >> 8}.{number & 255}", 999)
        endpoint = self._endpoints[self.state == HANDSHAKEN and self._rng.random() < 0.5]
        self._link = endpoint.connect(SERVER, self._world.now)
        before = set(self._board.guests)
        first = self._carry()
        header = wire.long_header(first[0])
        assert header is not None
        self.original, self.source = header.destination, header.source
        self._guest = next(iter(self._board.guests - before), None)
        if self.state != HALF_OPEN:
            self._carry()
            self._carry()
        if self.state == REGISTERED:
            self._link.control(_OPENING)
            self._carry()
        elif self.state == JOINED:
            self._link.control(self._joining())
            self._carry()
        return self._reached() == self.state

    def _reached(self) -> str:
        if self.guest is None:
            return ""
        if self.guest.identity is None:
            return HALF_OPEN
        if self.guest.path is not None:
            return JOINED
        return REGISTERED if self.guest.session is not None else HANDSHAKEN

    def generate(self) -> Input:
        """Return datagrams under the keys of the present one: any frames, words on the control stream, payloads."""
        rng = self._rng
        if self.guest is None or self.state == HALF_OPEN or self._link._closed:
            return ()
        words = "join" if self.state == JOINED else "control-stream"
        kind = rng.choice(("frames", words, "payloads", "payloads"))
        items = self._mutators[kind].next()
        if kind == words:
            self._link.control(items[0][:_LONGEST])
            return self._sealed([])
        if kind == "payloads":
            taken = [item for item in items if item][:8]
            if rng.random() < 0.2:
                # As if they were the other peer's.
                taken = [item.replace(_OWN, _OTHERS) for item in taken]
            if self.state == JOINED:
                heads = [bytes([2, rng.getrandbits(6), 1]) + rng.randrange(3000).to_bytes(4, "big") for _item in taken]
                taken = [head + item for head, item in zip(heads, taken, strict=True)]
            return self._sealed(taken)
        contents = [content[:_LONGEST] or b"\1" for content in items or (b"",)]
        connection = self._link._connection
        sealed = seal.seal(contents, private.send_state(connection))
        private.note_sealed(connection, self._link._recovery, list(map(len, sealed)), self._world.now)
        return tuple(sealed)

    def check(self, frames: list[Frame]) -> None:
        """See that what came out has the addresses of the peer, and that there is a peer."""
        for frame in frames:
            data = b"".join(frame)
            source = ip_address(data[12:16] if data[0] >> 4 == 4 else data[8:24])
            assert self._guest.session is not None, "a stranger's packet got in"
            assert any(source in prefix for prefix in OWNED), f"a packet from {source} got in"

    def _joining(self) -> bytes:
        """Return what makes it one of two paths, of one of two starts of a client."""
        session, path = bytes([self._rng.getrandbits(1)]) * messages.ID_LENGTH, 1 + self._rng.getrandbits(1)
        join = Join(ID, session, path, OWNED, policy_wire.encode(_POLICY))
        return Hello(messages.MULTIPATH, messages.MULTIPATH).encode() + join.encode() + Confirm(ID).encode()

    def forget(self) -> None:
        """Forget the present one."""
        self._link = self._guest = None
        self.original = self.source = b""

    @property
    def _board(self) -> Any:
        assert self._world.server is not None
        return self._world.server._board

    def _sealed(self, payloads: list[bytes]) -> Input:
        return tuple(data for data, _to in self._link.seal(payloads, self._world.now)[0])

    def _carry(self) -> Input:
        """Bring to the server what there is, and back what it answers."""
        world, now = self._world, self._world.now
        assert world.server is not None
        datagrams = self._sealed([])
        world.server.receive(arrivals(self.address, *datagrams), now)
        answers = world.server.flush(now)
        self._link.open(arrivals(SERVER, *[data for data, to in answers if to == self.address]), now)
        self._link.events()
        world._carry([(data, to) for data, to in answers if to != self.address], world.down, world._to_client)
        return datagrams
