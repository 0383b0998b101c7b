# SPDX-License-Identifier: GPL-3.0-or-later
"""A client with several paths and its server in virtual time: each path has a link of its own in the simulation."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mpquic.core.client import Settings
from mpquic.core.multipath.client import MultipathClient
from mpquic.core.multipath.policy import PathSpec, Policy, TrafficClass
from mpquic.core.offload import BareCodec
from mpquic.core.roster import Member, Roster
from mpquic.core.server import ServerTunnel
from mpquic.quic import ClientEndpoint, ServerEndpoint, Trust, spki_pin
from simulation import CLIENT_TUN, PREFIXES, SERVER, SERVER_TUN, Simulation, Way, arrivals, identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mpquic.core.multipath.leg import Leg
    from mpquic.core.types import Address

_UDP = 17
_HEADS = 28


def udp(number: int, port: int = 5000, size: int = 84, *, dscp: int = 0) -> bytes:
    """Return a packet with a number from the client into the world; the port makes the flow."""
    addresses = CLIENT_TUN.ip.packed + bytes((203, 0, 113, 77))
    head = b"\x45" + bytes([dscp << 2]) + size.to_bytes(2, "big") + b"\0\0\0\0\x40\x11\0\0" + addresses
    ports = port.to_bytes(2, "big")
    return (
        head + ports + ports + (size - 20).to_bytes(2, "big") + b"\0\0" + number.to_bytes(8, "big") + bytes(size - 36)
    )


def turned(data: bytes) -> bytes:
    """Return the packet that answers: its addresses and ports are exchanged."""
    return data[:12] + data[16:20] + data[12:16] + data[22:24] + data[20:22] + data[24:]


def paths(*priorities: int, weights: Sequence[int] = (), links: Sequence[int] = ()) -> tuple[PathSpec, ...]:
    """Return paths ``wan1``, ``wan2``, ... of these priorities."""
    return tuple(
        [
            PathSpec(
                number,
                f"wan{number}",
                links[number - 1] if links else number,
                priority,
                weights[number - 1] if weights else 1,
                None,
            )
            for number, priority in enumerate(priorities, 1)
        ]
    )


PRIORITY = (TrafficClass("default", "priority"),)


@dataclass
class Line:
    """The link of one path, both ways, and the client's address on it."""

    number: int
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    #: What this host lacks for a socket.
    no_socket: str | None = None
    port: int = 0

    @property
    def address(self) -> Address:
        return (f"198.51.100.{self.number}", self.port)

    def cut(self, *, up: bool = True, down: bool = True) -> None:
        """Let what goes this way vanish."""
        self.up.cut, self.down.cut = up, down

    def mend(self) -> None:
        self.cut(up=False, down=False)


class Several(Simulation):
    """A client, a server, the links between them, and what each end delivered to its TUN, with the time."""

    def __init__(
        self,
        folder: Path,
        specs: Sequence[PathSpec],
        *,
        classes: Sequence[TrafficClass] = PRIORITY,
        rtt: float = 0.04,
        seed: int = 1,
        policy: Policy | None = None,
    ) -> None:
        super().__init__(seed)
        self.policy = policy or Policy(1, tuple(specs), tuple(classes))
        self.lines = {spec.number: self._line(spec.number, rtt) for spec in self.policy.paths}
        self.rtt = rtt
        self.identity, certificate = identity(folder)
        client_identity, client_certificate = identity(folder, "client")
        self.members = [Member("client1", PREFIXES, frozenset({spki_pin(client_certificate)}))]
        trust = Trust(pins=(spki_pin(certificate),))
        self.endpoint = ClientEndpoint(trust=trust, identity=client_identity, tun_mtu=1300)
        self._ports = 50000
        self.at_client: list[tuple[float, bytes]] = []
        self.at_server: list[tuple[float, bytes]] = []
        self.server: ServerTunnel | None = None
        self.start_server()
        self.start_client()

    # --- what a test does -------------------------------------------------------------------------------------------

    def start_server(self) -> None:
        endpoint = ServerEndpoint(identity=self.identity, tun_mtu=1300)
        self.server = ServerTunnel(endpoint, Roster(self.members), self.now, own=(SERVER_TUN,))
        self.server.attach(BareCodec())

    def start_client(self) -> None:
        settings = Settings(CLIENT_TUN, PREFIXES)
        self.client = MultipathClient(self.endpoint.connect, self.random.randbytes, self.now, settings, self.policy, {})
        self.client.attach(BareCodec())

    def reconfigure(self, specs: Sequence[PathSpec], rates: Mapping[int, int] | None = None) -> None:
        """Let the client have these paths, and these rates of them."""
        self.policy = replace(self.policy, generation=self.policy.generation + 1, paths=tuple(specs))
        for spec in specs:
            if spec.number not in self.lines:
                self.lines[spec.number] = self._line(spec.number, self.rtt)
        self.client.reconfigure(self.policy, rates or {}, self.now)

    def up(self, *packets: bytes) -> None:
        self.client.send(packets, self.now)
        self._deliver()

    def down(self, *packets: bytes) -> None:
        """Send the answers to these packets; ``at_client`` has them as they are here."""
        if self.server is not None:
            self.server.send([turned(data) for data in packets], self.now)
            self._deliver()

    def leg(self, number: int) -> Leg:
        return next(leg for leg in (*self.client.legs, *self.client.leaving) if leg.spec.number == number)

    def state(self, number: int) -> str:
        """Return how the client sees a path."""
        health = self.leg(number).path.health
        assert health is not None
        return health.state.value

    def all_up(self) -> bool:
        """Tell whether both ends see every path up."""
        if self.server is None:
            return False
        ends = [self.server.sessions["client1"].paths, self.client.bundle.paths]
        seen = [end[spec.number].health for spec in self.policy.paths for end in ends if spec.number in end]
        return len(seen) == 2 * len(self.policy.paths) and all(
            health is not None and health.state.value == "up" for health in seen
        )

    # --- machinery --------------------------------------------------------------------------------------------------

    @staticmethod
    def _line(number: int, rtt: float) -> Line:
        return Line(number, Way(delay=rtt / 2), Way(delay=rtt / 2))

    def _deadline(self) -> float:
        return min(self.client.deadline(), self.server.deadline() if self.server is not None else math.inf)

    def _fire(self) -> None:
        self.client.fire(self.now)
        if self.server is not None:
            self.server.fire(self.now)
        self._deliver()

    def _deliver(self) -> None:
        """Write to the TUNs what is not due to what has just arrived."""
        self.at_client += [(self.now, turned(b"".join(frame))) for frame in self.client.answers()]
        if self.server is not None:
            self.at_server += [(self.now, b"".join(frame)) for frame in self.server.answers()]

    def _settle(self) -> None:
        for leg in self.client.touched():
            line = self.lines[leg.path.number]
            datagrams = leg.flush(self.now)
            for data, _to in datagrams if line.no_socket is None else ():
                self._carry(line.up, data, functools.partial(self._to_server, line, data, line.address))
        if self.server is not None:
            for data, to in self.server.flush(self.now):
                line = self.lines[int(to[0].rpartition(".")[2])]
                self._carry(line.down, data, functools.partial(self._to_client, line, data, to))
            self._note("server", self.server.changes())
        self._note("client", self.client.changes())
        for leg in self.client.legs:
            if leg.needs_socket:
                self._open(leg)

    def _open(self, leg: Leg) -> None:
        line = self.lines[leg.path.number]
        if line.no_socket is not None:
            leg.socket_failed(line.no_socket, self.now)
        else:
            self._ports += 1
            line.port = self._ports
            leg.socket_ready(SERVER, self.now)
        self._settle()

    def _carry(self, way: Way, data: bytes, arrive: functools.partial[None]) -> None:
        for delay in way.delays(len(data) + 28, self.now, self.random, self.wire):
            self.call(delay, arrive)

    def _to_server(self, line: Line, data: bytes, source: Address) -> None:
        if self.server is None:
            if line.address == source and not line.down.cut:
                self.call(line.down.delay, functools.partial(self._refuse, line, source))
            return
        frames = self.server.receive(arrivals(source, data), self.now)
        self.at_server += [(self.now, b"".join(frame)) for frame in frames]

    def _refuse(self, line: Line, address: Address) -> None:
        if address == line.address:
            self.leg(line.number).refused(self.now)

    def _knows(self, number: int) -> bool:
        return any(leg.path.number == number for leg in (*self.client.legs, *self.client.leaving))

    def _to_client(self, line: Line, data: bytes, to: Address) -> None:
        if to != line.address or line.no_socket is not None or not self._knows(line.number):
            return
        frames = self.leg(line.number).receive(arrivals(SERVER, data), self.now)
        self.at_client += [(self.now, turned(b"".join(frame))) for frame in frames]


class Stream:
    """Numbered packets of one flow at a steady rate, and what became of them."""

    def __init__(
        self,
        world: Several,
        *,
        down: bool = False,
        port: int = 5000,
        interval: float = 0.01,
        size: int = 84,
        dscp: int = 0,
    ) -> None:
        self._world = world
        self._send = world.down if down else world.up
        self._arrived = world.at_client if down else world.at_server
        self._port, self._interval, self._size, self._dscp = port, interval, size, dscp
        self._on = True
        self._start = len(self._arrived)
        self.sent: list[float] = []
        world.call(0.0, self._next)

    def stop(self) -> None:
        """Send no more."""
        self._on = False

    def _next(self) -> None:
        if self._on:
            self._send(udp(len(self.sent), self._port, self._size, dscp=self._dscp))
            self.sent.append(self._world.now)
            self._world.call(self._interval, self._next)

    def came(self) -> list[tuple[float, int]]:
        """Return when which packets arrived."""
        port = self._port.to_bytes(2, "big")
        return [
            (at, int.from_bytes(data[_HEADS : _HEADS + 8], "big"))
            for at, data in self._arrived[self._start :]
            if data[9] == _UDP and data[20:22] == port
        ]

    def lost(self) -> list[int]:
        """Return the numbers of those that did not arrive."""
        return sorted(set(range(len(self.sent))) - {number for _at, number in self.came()})

    def twice(self) -> int:
        """Return how many arrived more often than once."""
        numbers = [number for _at, number in self.came()]
        return len(numbers) - len(set(numbers))

    def disorder(self) -> int:
        """Return how many arrived after a later one."""
        highest, found = -1, 0
        for _at, number in self.came():
            found += number < highest
            highest = max(highest, number)
        return found

    def outage(self) -> float:
        """Return the longest time without an arrival (seconds)."""
        times = [at for at, _number in self.came()]
        return max((after - before for before, after in itertools.pairwise(times)), default=math.inf)
