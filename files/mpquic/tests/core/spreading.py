# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths whose state a test sets, policies over them, and links that flows share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from mpquic.core.ackclock import AckClock
from mpquic.core.fit import Fit
from mpquic.core.icmp import TooBig
from mpquic.core.lane import Lane
from mpquic.core.multipath.flowtable import quick_key
from mpquic.core.multipath.health import PathHealth, State
from mpquic.core.multipath.policy import PathSpec, Policy, TrafficClass
from mpquic.core.multipath.spreader import Spreader
from mpquic.core.path import Path
from mpquic.core.types import Counters
from packets import TCP, Packet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from random import Random

    from mpquic.core.connection import Connection
    from mpquic.core.multipath.conversation import Flow
    from mpquic.core.multipath.policy import Rule
    from mpquic.core.multipath.way import Way

BALANCED = TrafficClass("default", "balanced")


@dataclass
class Timed:
    """As much of a connection as spreading looks at."""

    clock: AckClock


def make_path(number: int, *, link: int | None = None, rtt: float | None = None, state: State = State.UP) -> Path:
    lane = Lane(Counters())
    path = Path(number, f"wan{number}", lane, Fit(lane, TooBig()), link=number if link is None else link)
    path.health = PathHealth(state)
    clock = AckClock()
    if rtt is not None:
        clock.rtt(rtt)
    path.connection = cast("Connection", Timed(clock))
    return path


def spec(path: Path, weight: int = 1, priority: int = 0) -> PathSpec:
    return PathSpec(path.number, path.name, path.link, priority, weight, None)


def policy(*specs: PathSpec, classes: Sequence[TrafficClass] = (BALANCED,), rules: Sequence[Rule] = ()) -> Policy:
    return Policy(1, specs, tuple(classes), 0, tuple(rules))


@dataclass(frozen=True)
class Sent:
    """Where a packet went."""

    flow: Flow
    way: Way
    #: The path that carries it, then those that carry copies.
    paths: tuple[Path, ...]
    #: The receiver is to wait a moment for what was numbered before.
    ordered: bool


class End:
    """A spreader and its paths."""

    def __init__(
        self,
        weights: Mapping[int, int],
        *classes: TrafficClass,
        priorities: Mapping[int, int] | None = None,
        links: Mapping[int, int] | None = None,
        rules: Sequence[Rule] = (),
        turned: bool = False,
    ) -> None:
        self.paths = {n: make_path(n, link=(links or {}).get(n), rtt=0.02 * n) for n in weights}
        specs = [spec(path, weights[n], (priorities or {}).get(n, 0)) for n, path in self.paths.items()]
        self.policy = policy(*specs, classes=classes or (BALANCED,), rules=rules)
        self.spreader = Spreader(self.policy, turned=turned)
        self.spreader.configure(self.policy, self.paths, 0.0)

    def set(self, number: int, state: State, now: float, *, fails: int = 0) -> None:
        """Let a path enter a state."""
        health = self.paths[number].health
        assert health is not None
        health.state, health.since, health.fails = state, now, fails
        self.spreader.refresh(now)

    def share(self, packet: Packet, now: float, size: int = 0) -> Sent:
        """Send one packet with so many bytes behind it."""
        data, table = bytes(packet) + bytes(size), self.spreader._table
        (share,) = self.spreader.spread([data], 0, now)
        flow = table.known.get(quick_key(data, 0)) or table.flow(data, 0)
        return Sent(flow, share.way, share.way.paths, share.way.ordered)

    def hear(self, packet: bytes, class_index: int, path: int, now: float) -> None:
        """Take note that the peer sent this packet."""
        frames = [(bytes(10), packet)]
        self.spreader.heard(frames, 10, class_index, self.paths[path], now)

    def numbers(self, packet: Packet, now: float) -> tuple[int, ...]:
        """Send one packet; return the numbers of its paths."""
        return tuple(path.number for path in self.share(packet, now).paths)

    def places(self, packets: Iterable[Packet], now: float) -> dict[Packet, int]:
        """Send one packet of each; return the number of the first path of each."""
        return {packet: self.numbers(packet, now)[0] for packet in packets}


def flows(count: int, **fields: object) -> list[Packet]:
    """Return a packet of each of so many flows."""
    return [Packet(**{"ports": (1024 + number, 443), **fields}) for number in range(count)]  # type: ignore[arg-type]


@dataclass(eq=False)
class Sender:
    """A flow through the tunnel: it takes all it gets, or offers a fixed rate (bits per second)."""

    packet: Packet
    offers: float = math.inf
    #: Bits per second that it sends now, and that arrive.
    rate: float = 1e6
    arrives: float = 0.0
    from_: float = 0.0
    until: float = math.inf
    #: Times and numbers of the paths it was seen on.
    visits: list[tuple[float, int]] = field(default_factory=list)
    #: When it was sent in order.
    ordered: list[float] = field(default_factory=list)


class Links:
    """Links of given capacities (bits per second, by the numbers of paths) that senders share as equals do."""

    STEP = 0.05

    def __init__(self, end: End, capacities: Mapping[int, float], random: Random) -> None:
        self.end, self.capacities, self.random = end, capacities, random
        self.now = 10.0
        #: Bits per second that arrived, over the time that run() took last.
        self.total = 0.0

    def run(self, senders: Sequence[Sender], seconds: float) -> None:
        """Let time pass."""
        begin, bits = self.now, 0.0
        while self.now < begin + seconds:
            if self.now >= self.end.spreader.deadline():
                self.end.spreader.fire(self.now)
            on: dict[int, list[Sender]] = {number: [] for number in self.capacities}
            for sender in senders:
                if sender.from_ <= self.now - 10 < sender.until:
                    size = max(1, int(sender.rate * self.STEP / 8))
                    share = self.end.share(sender.packet, self.now, size)
                    number = share.paths[0].number
                    on[number].append(sender)
                    sender.ordered += [self.now - 10] if share.ordered else []
                    if not sender.visits or sender.visits[-1][1] != number:
                        sender.visits.append((self.now - 10, number))
                else:
                    sender.arrives = 0.0
            for number, there in on.items():
                self._divide(self.capacities[number], there)
            bits += sum(sender.arrives for sender in senders) * self.STEP
            self.now += self.STEP
        self.total = bits / seconds

    def _divide(self, capacity: float, senders: Sequence[Sender]) -> None:
        """Give each what it offers or an equal part, whichever is less."""
        left = capacity
        for place, sender in enumerate(sorted(senders, key=lambda one: one.offers)):
            sender.arrives = min(sender.offers, left / (len(senders) - place), sender.rate)
            left -= sender.arrives
            part = capacity / len(senders)
            if sender.offers < math.inf:
                sender.rate = sender.offers
            elif sender.packet.protocol == TCP:
                # Congestion control: up to what there is within a second or so, down at once; never quite steady.
                goal = max(part, left + sender.arrives)
                sender.rate = min(goal, sender.rate * 1.15 + 2e4) * (1 - 0.3 * (self.random.random() < 0.04))
