# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ends of a tunnel's paths in virtual time: real monitors, lanes and ack clocks, connections that only count.

A connection numbers, acknowledges and gives up packets as RFC 9002 has it, without cryptography.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpquic.core.ackclock import AckClock
from mpquic.core.fit import Fit
from mpquic.core.icmp import TooBig
from mpquic.core.lane import Lane
from mpquic.core.multipath.monitor import Monitor
from mpquic.core.path import Path
from mpquic.core.types import Counters
from mpquic.core.wire import CONTEXT_STATUS, SEQUENCED_OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpquic.core.multipath.health import State, Transition
    from mpquic.core.types import Address, Datagram

#: Seconds after which a packet is acknowledged; what the probe timer adds for that (RFC 9002 section 6.2.1).
ACK_DELAY, MAX_ACK_DELAY = 0.005, 0.025
#: Bytes of an IP packet around a DATAGRAM payload, and one that only holds a PING or an ACK.
AROUND, SMALL = 28 + 30, 28 + 32
INNER = bytes([2]) + bytes(SEQUENCED_OVERHEAD - 1) + b"\x45" + bytes(91)


@dataclass
class Way:
    """One direction of a WAN."""

    delay: float = 0.025
    jitter: float = 0.0
    loss: float = 0.0
    cut: bool = False
    #: Bits per second and the seconds of it that a queue holds.
    rate: float = math.inf
    queue: float = 0.5
    free_at: float = 0.0
    #: Nothing leaves the queue until then.
    stopped_until: float = 0.0
    last_out: float = 0.0
    octets: int = 0

    def out(self, octets: int, now: float, chance: random.Random) -> float | None:
        """Return when a packet arrives at the other side, None for never."""
        self.octets += octets
        if self.cut or chance.random() < self.loss:
            return None
        start = max(now, self.free_at, self.stopped_until)
        if start - now > self.queue and start > self.stopped_until:
            return None
        self.free_at = start + 8 * octets / self.rate
        return self.free_at + self.delay + self.jitter * chance.random()


class Line:
    """One end of a connection."""

    congestion_controlled = False
    session = "00000000"
    claimed = None
    key_updates = 0
    max_payload = 1200
    datagram_size = 1230

    def __init__(self, world: World, path: int, out: Way, rtt: float) -> None:
        self.world, self.number, self.out = world, path, out
        self.clock = AckClock()
        self.clock.rtt(rtt)
        self.clock.restart(world.now)
        self.peer: Address = ("192.0.2.1", path)
        self.far: Line
        self.end: End
        self.open = True
        self.pinged = False
        self.next = 0
        self.flying: dict[int, float] = {}
        self.given_up: set[int] = set()
        self.largest_acked = -1
        self.got: deque[int] = deque(maxlen=512)
        self.ack_due = False
        self.probes = 0
        self.timer = 0

    def ping(self) -> None:
        self.pinged = True

    def seal(self, payloads: Sequence[bytes], now: float) -> tuple[list[Datagram], int]:
        for payload in payloads:
            self._send(payload)
        if self.pinged:
            self.pinged = False
            self._send(b"")
        return [], len(payloads)

    def _send(self, payload: bytes) -> None:
        now, number = self.world.now, self.next
        self.next += 1
        self.flying[number] = now
        self.clock.sent(now)
        size = AROUND + len(payload) if payload else SMALL
        self.world.wire["bytes"] += size
        self.world.wire["pings"] += not payload
        self.world.wire["reports"] += payload[:1] == bytes([CONTEXT_STATUS])
        at = self.out.out(size, now, self.world.chance)
        if at is not None:
            self.world.at(at, lambda: self.far._receive(number, payload))
        self._arm()

    def _receive(self, number: int, payload: bytes) -> None:
        if not self.open:
            return
        self.got.append(number)
        if not self.ack_due:
            self.ack_due = True
            self.world.at(self.world.now + ACK_DELAY, self._acknowledge)
        if payload:
            self.end.take(self.number, payload)

    def _acknowledge(self) -> None:
        self.ack_due = False
        seen = frozenset(self.got)
        self.world.wire["bytes"] += SMALL
        at = self.out.out(SMALL, self.world.now, self.world.chance)
        if at is not None:
            self.world.at(at, lambda: self.far._acked(seen))

    def _acked(self, seen: frozenset[int]) -> None:
        if not self.open:
            return
        now, clock = self.world.now, self.clock
        fresh = [number for number in self.flying if number in seen]
        if fresh:
            largest = max(fresh)
            if largest > self.largest_acked:
                clock.rtt(now - self.flying[largest])
                self.largest_acked = largest
            for number in fresh:
                del self.flying[number]
            clock.acked(now, len(fresh))
            self.probes = 0
        late = self.given_up & seen
        self.given_up -= late
        if late:
            clock.found(len(late))
        self._give_up()
        self._arm()

    def _give_up(self) -> None:
        now, clock = self.world.now, self.clock
        wait = 9 / 8 * max(clock.srtt or 0.0, clock.latest)
        before = [number for number in self.flying if number < self.largest_acked]
        lost = [n for n in before if n <= self.largest_acked - 3 or self.flying[n] + wait <= now + 1e-9]
        left = [self.flying[n] for n in before if n not in lost]
        for number in lost:
            del self.flying[number]
            self.given_up.add(number)
        if lost:
            clock.lost(len(lost))
        if left:
            self.world.at(max(now + 1e-6, min(left) + wait), self._give_up)

    def _arm(self) -> None:
        """Set the probe timer."""
        self.timer += 1
        timer, clock = self.timer, self.clock
        if self.flying:
            wait = (clock.srtt or 0.3) + max(4 * clock.rttvar, 0.001) + MAX_ACK_DELAY
            self.world.at(self.world.now + wait * 2**self.probes, lambda: self._probe(timer))

    def _probe(self, timer: int) -> None:
        if timer == self.timer and self.open:
            self.probes += 1
            self._send(b"")


@dataclass
class End:
    """The client or the server: its paths and who judges them."""

    name: str
    world: World
    monitor: Monitor
    paths: dict[int, Path] = field(default_factory=dict)
    history: list[Transition] = field(default_factory=list)
    got: list[tuple[float, int]] = field(default_factory=list)
    #: What the scheduler of the test chose, and how often that changed.
    chosen: int | None = None
    switches: int = 0

    def add(self, number: int) -> None:
        lane = Lane(Counters(), front=SEQUENCED_OVERHEAD)
        path = self.paths[number] = Path(number, f"wan{number}", lane, Fit(lane, TooBig()), link=number)
        self.monitor.add(path)

    def state(self, number: int) -> State:
        return self.health(number).state

    def health(self, number: int):
        health = self.paths[number].health
        assert health is not None
        return health

    def take(self, number: int, payload: bytes) -> None:
        if payload[0] == CONTEXT_STATUS:
            self.monitor.hear(self.paths[number], payload, self.world.now)
        else:
            self.paths[number].counters.rx_packets += 1
            self.got.append((self.world.now, number))

    def send(self, count: int = 1) -> None:
        """Send inner packets by the best path, the lowest number among equals."""
        usable = [path for path in self.paths.values() if path.connection is not None and path.health.rank < 4]
        if not usable:
            return
        best = min(usable, key=lambda path: (path.health.rank, path.number))
        if self.chosen not in (None, best.number):
            self.switches += 1
        self.chosen = best.number
        best.lane.enqueue([INNER] * count, best.connection, self.world.now)
        best.lane.flush(best.connection, self.world.now)

    def states(self, number: int) -> list[State]:
        return [item.after for item in self.history if item.path.number == number]

    def settle(self) -> None:
        for path in self.monitor.touched():
            if path.connection is not None:
                path.lane.flush(path.connection, self.world.now)
        self.history += self.monitor.changes()


class World:
    """WANs, numbered from 1, and both ends."""

    def __init__(self, ways: Sequence[tuple[Way, Way]], *, seed: int = 1, connect: bool = True) -> None:
        self.now = 1000.0
        self.chance = random.Random(seed)
        self.ways = dict(enumerate(ways, 1))
        self.wire: Counter[str] = Counter()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self.client = End("client", self, Monitor(self.now, asks=True))
        self.server = End("server", self, Monitor(self.now, asks=False))
        for number in self.ways:
            for end in self.ends:
                end.add(number)
        if connect:
            for number in self.ways:
                self.connect(number)

    @property
    def ends(self) -> tuple[End, End]:
        return self.client, self.server

    def connect(self, number: int) -> None:
        up, down = self.ways[number]
        rtt = up.delay + down.delay + ACK_DELAY
        near, far = Line(self, number, up, rtt), Line(self, number, down, rtt)
        near.far, far.far = far, near
        near.end, far.end = self.client, self.server
        for end, line in ((self.client, near), (self.server, far)):
            end.paths[number].connection = line
            end.monitor.connected(end.paths[number], self.now)
            end.settle()

    def lose(self, number: int, reason: str = "no answer", *, ends: Sequence[End] | None = None) -> None:
        for end in ends or self.ends:
            path = end.paths[number]
            if path.connection is not None:
                path.connection.open = False
            path.connection = None
            path.lane.reset()
            end.monitor.lost(path, reason, self.now)
            end.settle()

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, action))

    def every(self, interval: float, action: Callable[[], None], *, until: float = math.inf) -> None:
        def again() -> None:
            if self.now < until:
                action()
                self.at(self.now + interval, again)

        self.at(self.now + interval, again)

    def traffic(self, rate: float = 100.0, *, until: float = math.inf, ends: Sequence[End] | None = None) -> None:
        for end in ends or self.ends:
            self.every(1 / rate, end.send, until=until)

    def cut(self, number: int, *, up: bool = True, down: bool = True) -> None:
        """Cut these directions of a WAN and mend the others."""
        self.ways[number][0].cut, self.ways[number][1].cut = up, down

    def run(self, seconds: float) -> None:
        stop = self.now + seconds
        while True:
            due = min(end.monitor.deadline() for end in self.ends)
            at = min(self._heap[0][0] if self._heap else math.inf, due)
            if at > stop:
                break
            self.now = max(self.now, at)
            while self._heap and self._heap[0][0] <= self.now:
                heapq.heappop(self._heap)[2]()
            for end in self.ends:
                if end.monitor.deadline() <= self.now:
                    end.monitor.fire(self.now)
                    assert end.monitor.deadline() > self.now, f"{end.name} has to fire again at once"
                end.settle()
        self.now = stop
