# SPDX-License-Identifier: GPL-3.0-or-later
"""Two bundles back to back: links with delays, losses and faults on a simulated clock, without QUIC."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from mpquic.core import wire
from mpquic.core.ackclock import AckClock
from mpquic.core.fit import Fit
from mpquic.core.icmp import TooBig
from mpquic.core.lane import Lane
from mpquic.core.multipath.bundle import Bundle
from mpquic.core.multipath.policy import PathSpec, Policy, TrafficClass
from mpquic.core.path import Path
from mpquic.core.types import Counters
from packets import UDP, Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.core.connection import Connection
    from mpquic.core.types import Address, Datagram, Frame

CLIENT, SERVER = 0, 1
#: Bytes that QUIC adds.
_OVERHEAD = 30


@dataclass
class Link:
    """What lies between the ends of one path."""

    #: One way (seconds), by the sending end.
    delay: tuple[float, float] = (0.01, 0.01)
    #: Tells what is lost, by the sending end and the count of what it sent.
    loses: Callable[[int, int], bool] = lambda _end, _count: False
    dead: bool = False
    sent: list[int] = field(default_factory=lambda: [0, 0])


class Wire:
    """One end's connection: what it seals arrives as it is; what arrives is acknowledged at once."""

    congestion_controlled = False
    datagram_size = 1450
    session = "0" * 16
    key_updates = 0
    claimed = None

    def __init__(self, net: Net, end: int, number: int) -> None:
        self.net, self.end, self.number = net, end, number
        self.clock = AckClock()
        self.peer: Address = ("192.0.2.1", 45001)
        self.pings = 0
        #: What was sent and not yet acknowledged or given up: when.
        self._flying: dict[int, float] = {}
        self._count = 0

    @property
    def max_payload(self) -> int:
        return self.datagram_size - _OVERHEAD

    def set_datagram_size(self, size: int) -> None:
        self.datagram_size = size

    def ping(self) -> None:
        self.pings += 1

    def seal(self, payloads: Sequence[bytes], now: float) -> tuple[list[Datagram], int]:
        pings, self.pings = self.pings, 0
        arriving = []
        for payload in [*payloads, *[None] * min(pings, 1)]:
            self._count += 1
            self._flying[self._count] = now
            self.clock.sent(now)
            if self.net.passes(self):
                arriving.append((self._count, payload))
        if arriving:
            self.net.carry(self, arriving, now)
        return [(payload, self.peer) for payload in payloads], len(payloads)

    def acked(self, count: int, now: float) -> None:
        if count not in self._flying:
            return
        at = self._flying.pop(count)
        self.clock.acked(now)
        self.clock.rtt(now - at)
        # Three later ones have come: RFC 9002 section 6.1.1.
        for old in [old for old in self._flying if old < count - 3]:
            del self._flying[old]
            self.clock.lost(1)


class Net:
    """A client and a server with the same paths, and what lies between."""

    def __init__(
        self, policy: Policy, links: dict[int, Link], own: Sequence[IPv4Interface | IPv6Interface] = ()
    ) -> None:
        """``own`` are the addresses of both TUNs: in whose families they answer."""
        self.policy, self.links, self._own = policy, links, own
        self.now = 100.0
        self.counters = [Counters(), Counters()]
        self.ends = [Bundle(policy, self.counters[end], self.now, server=end == SERVER) for end in (CLIENT, SERVER)]
        self.paths = [{spec.number: self._path(spec) for spec in policy.paths} for _end in (CLIENT, SERVER)]
        for bundle, paths in zip(self.ends, self.paths, strict=True):
            bundle.configure(policy, paths, self.now)
        #: What was written to the TUN of each end, and when.
        self.written: list[list[tuple[float, Frame]]] = [[], []]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    def _path(self, spec: PathSpec) -> Path:
        lane = Lane(Counters(), front=wire.SEQUENCED_OVERHEAD)
        return Path(spec.number, spec.name, lane, Fit(lane, TooBig(*self._own)), link=spec.link)

    def connect(self, *numbers: int) -> None:
        """Connect these paths, or all."""
        for number in numbers or self.links:
            for end in (CLIENT, SERVER):
                path = self.paths[end][number]
                connection = Wire(self, end, number)
                connection.clock.srtt = sum(self.links[number].delay)
                path.connection = cast("Connection", connection)
                self.ends[end].connected(path, self.now)
        self._flush()

    def disconnect(self, number: int, reason: str = "closed") -> None:
        for end in (CLIENT, SERVER):
            path = self.paths[end][number]
            self.ends[end].lost(path, reason, self.now)
            path.connection = None
            path.lane.reset()
        self._flush()

    def fit(self, end: int, number: int, inner: int) -> None:
        """Let it be known that inner packets of so many bytes fit a path in one direction."""
        path = self.paths[end][number]
        assert path.connection is not None
        path.connection.set_datagram_size(inner + wire.SEQUENCED_OVERHEAD + _OVERHEAD)
        path.fit.start(path.connection, path.connection.datagram_size, self.now)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something later, at ``when`` seconds after the start."""
        self._order += 1
        heapq.heappush(self._events, (100.0 + when, self._order, what))

    def send(self, end: int, *packets: bytes) -> None:
        self.ends[end].send(packets, self.now)
        self._flush()

    def passes(self, source: Wire) -> bool:
        """Tell whether the next packet is not lost."""
        link = self.links[source.number]
        link.sent[source.end] += 1
        return not link.dead and not link.loses(source.end, link.sent[source.end])

    def carry(self, source: Wire, packets: list[tuple[int, bytes | None]], now: float) -> None:
        """Let packets arrive together, and their acknowledgements come back."""
        there, back = self.links[source.number].delay[source.end], self.links[source.number].delay[1 - source.end]
        payloads = [payload for _count, payload in packets if payload is not None]
        self.at(now - 100.0 + there, lambda: self._arrive(source, payloads))
        self.at(now - 100.0 + there + back, lambda: self._acknowledge(source, packets))

    def run(self, until: float) -> None:
        """Let time pass up to ``until`` seconds after the start."""
        until += 100.0
        while True:
            deadline = min(bundle.deadline() for bundle in self.ends)
            following = self._events[0][0] if self._events else math.inf
            if min(deadline, following) > until:
                self.now = until
                return
            self.now = max(self.now, min(deadline, following))
            if following <= deadline:
                heapq.heappop(self._events)[2]()
            else:
                for bundle in self.ends:
                    bundle.fire(self.now)
            self._flush()

    def _arrive(self, source: Wire, payloads: list[bytes]) -> None:
        end = 1 - source.end
        path = self.paths[end].get(source.number)
        if payloads and path is not None and path.connection is not None and not self.links[source.number].dead:
            frames = self.ends[end].accept(path, payloads, self.now)
            self.written[end] += [(self.now, frame) for frame in frames]

    def _acknowledge(self, source: Wire, packets: list[tuple[int, bytes | None]]) -> None:
        if not self.links[source.number].dead:
            for count, _payload in packets:
                source.acked(count, self.now)

    def _flush(self) -> None:
        for end, bundle in enumerate(self.ends):
            self.written[end] += [(self.now, frame) for frame in bundle.released()]
            # Every path, as a shell does after it read its socket.
            bundle.touched()
            for path in self.paths[end].values():
                if path.connection is not None:
                    path.lane.flush(path.connection, self.now)


def policy(*paths: PathSpec, classes: Sequence[TrafficClass] = (), generation: int = 1, rules: tuple = ()) -> Policy:
    """Return a policy of these paths; without ``classes`` there is one."""
    return Policy(
        generation=generation,
        paths=paths,
        classes=tuple(classes) or (TrafficClass("default", "priority"),),
        default=0,
        rules=rules,
    )


def spec(number: int, *, priority: int = 0, weight: int = 1, link: int | None = None) -> PathSpec:
    return PathSpec(number, f"wan{number}", number if link is None else link, priority, weight, None)


class Talk:
    """Packets of one flow, numbered."""

    def __init__(self, port: int, size: int = 100, tos: int = 0) -> None:
        self.port, self.size, self.tos, self.sent = port, size, tos, 0

    def packet(self, end: int) -> bytes:
        body = b"%d " % self.sent
        self.sent += 1
        there, back = "10.81.1.2", "10.81.2.2"
        ports = self.port, 5001
        if end == SERVER:
            there, back, ports = back, there, ports[::-1]
        return Packet(body.ljust(self.size), UDP, there, back, ports, tos=self.tos, ident=self.sent).complete()

    def heard(self, written: Sequence[tuple[float, Frame]]) -> list[int]:
        """Return the numbers of this flow's packets in what was written to a TUN without offload, in order."""
        found = []
        for _at, frame in written:
            data = b"".join(frame)
            if self.port in {int.from_bytes(data[20:22]), int.from_bytes(data[22:24])}:
                found.append(int(data[28:].split()[0]))
        return found
