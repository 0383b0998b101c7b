# SPDX-License-Identifier: GPL-3.0-or-later
"""Steady flows through a World, and what became of their packets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulation import packet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulation import World

#: Seconds after the last packet in which everything has arrived or is lost.
_TAIL = 1.0


@dataclass(frozen=True)
class Flow:
    """Packets of one size at one rate (bits per second of inner packets), all with one DSCP."""

    rate: float
    size: int = 1300
    dscp: int = 0

    def packet(self, number: int) -> bytes:
        """Return an IPv4 packet that is like no other."""
        data = packet(number, self.size)
        return data[:1] + bytes([self.dscp << 2]) + data[2:]


@dataclass
class Outcome:
    """What became of one flow. Delays are what came on top of the empty path's (seconds), sorted."""

    sent: int = 0
    delays: list[float] = field(default_factory=list)

    @property
    def delivered(self) -> float:
        """Percent of the packets that arrived."""
        return 100 * len(self.delays) / self.sent

    def at(self, share: float) -> float:
        """Return the delay that this share of the packets did not exceed (milliseconds)."""
        return 1000 * self.delays[min(int(share * len(self.delays)), len(self.delays) - 1)]


class Load:
    """Offers flows and remembers when each packet was offered."""

    def __init__(
        self, call: Callable[[float, Callable[[], None]], None], clock: Callable[[], float], send: Callable[..., None]
    ) -> None:
        """Take how to call later, how late it is, and where packets go."""
        self._call, self._clock, self._send = call, clock, send
        self._offered: dict[bytes, tuple[Flow, float]] = {}
        self._sent: dict[Flow, int] = {}

    def start(self, flow: Flow, until: float) -> None:
        """Offer ``flow`` from now on."""
        self._sent[flow] = 0
        interval = 8 * flow.size / flow.rate

        def step() -> None:
            now = self._clock()
            if now < until:
                packet = flow.packet(len(self._offered))
                self._offered[packet] = flow, now
                self._sent[flow] += 1
                self._send(packet)
                self._call(interval, step)

        step()

    def outcomes(self, arrived: Sequence[tuple[float, bytes]], delay: float) -> list[Outcome]:
        """Return what became of each flow, in the order in which they were started."""
        results = {flow: Outcome(sent) for flow, sent in self._sent.items()}
        for at, data in arrived:
            if data in self._offered:
                flow, since = self._offered[data]
                results[flow].delays.append(at - since - delay)
        for outcome in results.values():
            outcome.delays.sort()
        return list(results.values())


def link(world: World, rate: float, *, delay: float = 0.025, loss: float = 0.0, buffer: int = 100_000) -> None:
    """Make both ways of the wire a link of ``rate`` bits per second with half a round trip of ``delay``."""
    for way in (world.up, world.down):
        way.rate, way.delay, way.loss, way.buffer = rate, delay, loss, buffer


def connect(world: World) -> None:
    """Wait until both ends are up and quiet."""
    world.run_until(
        lambda: world.client.state == "up" and world.server is not None and world.server.state == "up", 30.0
    )
    world.run(1.0)


def carry(world: World, seconds: float, *flows: Flow, down: bool = False) -> list[Outcome]:
    """Send ``flows`` for a while, from the client or from the server, and return what became of each."""
    load = Load(world.call, lambda: world.now, world.from_server if down else world.from_client)
    arrived = world.at_client if down else world.at_server
    start = len(arrived)
    for flow in flows:
        load.start(flow, world.now + seconds)
    world.run(seconds + _TAIL)
    return load.outcomes(arrived[start:], (world.down if down else world.up).delay)
