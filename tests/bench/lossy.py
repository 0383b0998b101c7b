# SPDX-License-Identifier: GPL-3.0-or-later
"""Lossy and overloaded links in virtual time: this tunnel, and plain aioquic under its own congestion control.

    python tests/bench/lossy.py [--json FILE] [--seconds N]

Real QUIC, a simulated wire; deterministic for a seed, so it says the same on every machine. Delays are what comes on
top of the empty path's 25 ms one way. With half the link's rate offered and no other traffic, whatever is later than a
packet's own time on the link (0.5 ms) has waited for congestion control.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import json
import math
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import DatagramFrameReceived

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "files/mpquic/tests/quic")]

from simulation import Way, World, identity  # noqa: E402 - the path comes first
from traffic import Flow, Load, Outcome, carry, connect, link  # noqa: E402

from tests.bench.lossy_tables import tables  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

LINK = 20_000_000
DELAY = 0.025
LOSSES = (0.1, 1.0, 2.0)
#: Seconds of overload at most: after five the circuit breaker of a tunnel without a rate would open.
OVERLOAD = 4.0
VOICE = Flow(64_000, size=200, dscp=46)
#: aioquic's timers compare floats: fired at their very instant they may come back for ever (seconds).
_LATE = 2e-6
#: Largest UDP payload of plain aioquic (bytes): what a 1300-byte packet in a DATAGRAM frame needs.
_DATAGRAM = 1331


class Plain:
    """Two QuicConnections and a wire, with nothing of this project between an application and aioquic's queue."""

    def __init__(self, folder: Path, algorithm: str, loss: float, seed: int = 1) -> None:
        """Connect over a link without loss, which begins when the handshake is over."""
        own, _certificate = identity(folder)
        common: dict[str, Any] = {
            "alpn_protocols": ["bench"],
            "congestion_control_algorithm": algorithm,
            "max_datagram_frame_size": 65535,
            "max_datagram_size": _DATAGRAM,
        }
        server = QuicConfiguration(is_client=False, **common)
        server.load_cert_chain(own.cert_file, own.key_file)
        self.now = 1000.0
        self.random = random.Random(seed)
        self.arrived: list[tuple[float, bytes]] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        client = QuicConnection(configuration=QuicConfiguration(is_client=True, verify_mode=0, **common))
        client.connect(("192.0.2.2", 1), now=self.now)
        self.client = client
        self.server = QuicConnection(
            configuration=server, original_destination_connection_id=client.original_destination_connection_id
        )
        self.ways = {client: Way(delay=DELAY, rate=LINK), self.server: Way(delay=DELAY, rate=LINK)}
        self.run(1.0)
        for way in self.ways.values():
            way.loss = loss

    def call(self, delay: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self._serial += 1
        heapq.heappush(self._heap, (self.now + delay, self._serial, action))

    def send(self, packet: bytes) -> None:
        """Give a packet to aioquic."""
        self.client.send_datagram_frame(packet)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        self._settle()
        while (at := min(self._heap[0][0] if self._heap else math.inf, self._timer())) <= end:
            self.now = max(self.now, at)
            while self._heap and self._heap[0][0] <= self.now:
                heapq.heappop(self._heap)[2]()
            for connection in self.ways:
                timer = connection.get_timer()
                if timer is not None and timer + _LATE <= self.now:
                    connection.handle_timer(self.now)
            self._settle()
        self.now = end

    def _timer(self) -> float:
        timers = [connection.get_timer() for connection in self.ways]
        return min(timer + _LATE if timer is not None else math.inf for timer in timers)

    def _settle(self) -> None:
        for connection, way in self.ways.items():
            if connection is self.server and not connection.get_peer_address():
                continue
            for data, _to in connection.datagrams_to_send(self.now):
                queued = way.queue(len(data) + 28, self.now)
                if queued is None or self.random.random() < way.loss:
                    continue
                other = self.server if connection is self.client else self.client
                self.call(queued + way.delay, functools.partial(self._arrive, other, data))

    def _arrive(self, connection: QuicConnection, data: bytes) -> None:
        source = ("192.0.2.1", 1) if connection is self.server else ("192.0.2.2", 1)
        connection.receive_datagram(data, source, self.now)
        while (event := connection.next_event()) is not None:
            if isinstance(event, DatagramFrameReceived):
                self.arrived.append((self.now, event.data))


def plain(folder: Path, algorithm: str, loss: float, seconds: float) -> Outcome:
    """Return what plain aioquic makes of half the link's rate."""
    world = Plain(folder, algorithm, loss)
    load = Load(world.call, lambda: world.now, world.send)
    load.start(Flow(LINK / 2), world.now + seconds)
    world.run(seconds)
    return load.outcomes(world.arrived, DELAY)[0]


def tunnel(folder: Path, loss: float, seconds: float, algorithm: str = "tunnel") -> Outcome:
    """Return what this tunnel makes of it."""
    world = World(folder, algorithm=algorithm)
    link(world, LINK, delay=DELAY)
    connect(world)
    world.up.loss = world.down.loss = loss
    return carry(world, seconds, Flow(LINK / 2))[0]


def overload(folder: Path, rate: int | None, seconds: float) -> list[Outcome]:
    """Return what becomes of too much bulk, and of a call, on a link with a buffer of 40 ms."""
    world = World(folder, rate=rate)
    link(world, LINK, delay=DELAY)
    connect(world)
    return carry(world, seconds, Flow(1.5 * LINK, dscp=8), VOICE)


def row(outcome: Outcome, **names: object) -> dict[str, Any]:
    """Return one line of a table."""
    return {
        **names,
        "delivered_percent": round(outcome.delivered, 2),
        "added_p50_ms": round(outcome.at(0.5), 2),
        "added_p99_ms": round(outcome.at(0.99), 2),
    }


def main() -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description="Lossy and overloaded links in virtual time.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument("--seconds", type=float, default=30.0, help="virtual seconds per line (default: %(default)s)")
    arguments = parser.parse_args()
    seconds = arguments.seconds
    with tempfile.TemporaryDirectory(prefix="mpquic-lossy-") as name:
        folder = Path(name)
        lossy = []
        for percent in LOSSES:
            share = percent / 100
            lossy.append(row(tunnel(folder, share, seconds), design="mpquic", loss_percent=percent))
            lossy += [
                row(
                    plain(folder, algorithm, share, seconds), design=f"plain aioquic, {algorithm}", loss_percent=percent
                )
                for algorithm in ("reno", "cubic")
            ]
        loaded = []
        for rate in (LINK, None):
            bulk, voice = overload(folder, rate, min(seconds, OVERLOAD))
            shown = "20mbit" if rate else "none"
            loaded += [
                row(bulk, rate=shown, traffic="bulk, 30 Mbit/s"),
                row(voice, rate=shown, traffic="call (EF), 64 kbit/s"),
            ]
    found = {"seconds": seconds, "lossy": lossy, "overload": loaded}
    print(tables(found), end="")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
