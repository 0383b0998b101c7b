# SPDX-License-Identifier: GPL-3.0-or-later
"""What several paths add to each packet, in one process: classifier, scheduler, numbering and deduplication.

    python tests/bench/added.py

Packets go from reads of a TUN to payloads and from payloads to writes, once as with one path and once as with two, with
nothing sealed and no socket. Prints one JSON object of microseconds per packet, both ends together.
"""

from __future__ import annotations

import itertools
import json
import statistics
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tests.bench.shell import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.types import Datagram

    from tests.bench.measures import Values
    from tests.bench.peers import Peer
    from tests.bench.wires import Wire

#: Rounds, and packets in one of them.
_ROUNDS, _PACKETS = 15, 20_000
#: Bytes of TCP payload in a full packet, and packets of one read of a bulk transfer.
_STEP, _SEGMENTS = 1248, 50
#: Small packets in one go, each a read of its own, and bytes of their UDP payload.
_BATCH, _SMALL = 32, 64
#: What time it is said to be (s): a millisecond goes by between two batches.
_clock = itertools.count(100.0, 0.001)
_TCP, _UDP = 6, 17


def measure(_wire: Wire, _peer: Peer, _where: Path, _seconds: float) -> Values:
    """Measure in a process of its own."""
    found: Values = json.loads(run(sys.executable, "-m", "tests.bench.added", timeout=300))
    return found


class _Sink:
    """A connection that takes everything and keeps nothing."""

    congestion_controlled = False
    datagram_size = 1450
    max_payload = 1420
    peer = ("192.0.2.1", 45001)

    def __init__(self) -> None:
        from mpquic.core.ackclock import AckClock  # noqa: PLC0415 - as below

        self.clock = AckClock()
        self.taken: list[bytes] = []

    def ping(self) -> None:
        """Ask nobody."""

    def seal(self, payloads: Sequence[bytes], _now: float) -> tuple[list[Datagram], int]:
        """Keep the payloads for the other end."""
        self.taken = list(payloads)
        return [], len(payloads)


def _sum(data: bytes) -> int:
    """Return the folded sum of 16-bit words (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


def _packet(protocol: int, port: int, body: int) -> bytes:
    """Return an IPv4 packet as it is read from a device with offload, its transport checksum still to be completed."""
    header = 20 if protocol == _TCP else 8
    segments = body > _STEP
    addresses = bytes([10, 81, 1, 2, 10, 81, 2, 2])
    pseudo = _sum(addresses + struct.pack(">HH", protocol, header + body))
    if protocol == _TCP:
        transport = struct.pack(">HHIIBBHHH", port, 443, 1, 1, 5 << 4, 0x10, 501, pseudo, 0)
    else:
        transport = struct.pack(">HHHH", port, 443, header + body, pseudo)
    ip = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + header + body, 1, 0x4000, 64, protocol, 0, addresses)
    ip = ip[:10] + struct.pack(">H", 0xFFFF - _sum(ip)) + ip[12:]
    checksum = 16 if protocol == _TCP else 6
    head = struct.pack(
        "<BBHHHH", 1, 1 if segments else 0, 20 + header if segments else 0, _STEP if segments else 0, 20, checksum
    )
    return head + ip + transport + bytes(body)


#: What comes out of the TUN in one go, and how many packets that is.
SHAPES = {
    "bulk_us": ([_packet(_TCP, 40000, _STEP * _SEGMENTS)], _SEGMENTS),
    "small_us": ([_packet(_UDP, 40000, _SMALL)] * _BATCH, _BATCH),
    "mixed_us": ([_packet(_UDP, 40000 + index, _SMALL) for index in range(_BATCH)], _BATCH),
}


def _one_path() -> Callable[[Sequence[bytes], float], None]:
    """Return what one path does with reads, at both ends."""
    from mpquic.core.lane import Lane  # noqa: PLC0415 - the benchmark runs without the daemon's package until here
    from mpquic.core.offload import VnetCodec  # noqa: PLC0415
    from mpquic.core.types import Counters  # noqa: PLC0415

    sender, receiver, sink = Lane(Counters()), Lane(Counters()), _Sink()
    sender.codec = receiver.codec = VnetCodec(udp=True)
    connection = cast("Connection", sink)

    def carry(reads: Sequence[bytes], now: float) -> None:
        sender.offer(reads, connection, now)
        sender.flush(connection, now)
        receiver.accept(sink.taken)

    return carry


def _two_paths() -> Callable[[Sequence[bytes], float], None]:
    """Return what a bundle of two paths does with reads, at both ends."""
    from mpquic.core import wire  # noqa: PLC0415
    from mpquic.core.fit import Fit  # noqa: PLC0415
    from mpquic.core.icmp import TooBig  # noqa: PLC0415
    from mpquic.core.lane import Lane  # noqa: PLC0415
    from mpquic.core.multipath.bundle import Bundle  # noqa: PLC0415
    from mpquic.core.multipath.policy import PathSpec, Policy, Rule, TrafficClass  # noqa: PLC0415
    from mpquic.core.offload import VnetCodec  # noqa: PLC0415
    from mpquic.core.path import Path as Way  # noqa: PLC0415
    from mpquic.core.types import Counters  # noqa: PLC0415

    classes = (TrafficClass("default", "priority"), TrafficClass("voice", "failover"))
    rule = Rule(
        target=1,
        protocols=frozenset({_UDP}),
        sources=(),
        destinations=(),
        source_ports=(),
        destination_ports=((5060, 5061),),
        dscps=frozenset(),
    )
    specs = tuple([PathSpec(number, f"wan{number}", number, 0, 1, None) for number in (1, 2)])
    policy = Policy(1, specs, classes, 0, (rule,))
    bundles, ways, now = [], [], 100.0
    for server in (False, True):
        bundle, there = Bundle(policy, Counters(), now, server=server), {}
        for spec in specs:
            lane = Lane(Counters(), front=wire.SEQUENCED_OVERHEAD)
            there[spec.number] = Way(spec.number, spec.name, lane, Fit(lane, TooBig()), link=spec.link)
        bundle.configure(policy, there, now)
        bundle.attach(VnetCodec(udp=True))
        for way in there.values():
            way.connection = cast("Connection", _Sink())
            bundle.connected(way, now)
        bundles.append(bundle)
        ways.append(there)
    sender, receiver = bundles

    def carry(reads: Sequence[bytes], now: float) -> None:
        for way in sender.send(reads, now):
            connection = way.connection
            if connection is not None:
                way.lane.flush(connection, now)
                receiver.accept(ways[1][way.number], cast("_Sink", connection).taken, now)

    return carry


def _spent(carry: Callable[[Sequence[bytes], float], None], reads: Sequence[bytes], packets: int) -> float:
    """Return the CPU time of one packet (us)."""
    turns = _PACKETS // packets
    begin = time.process_time()
    for _turn in range(turns):
        carry(reads, next(_clock))
    return (time.process_time() - begin) / (turns * packets) * 1e6


def main() -> None:
    """Take turns, so that what the machine does hits both alike, and print the medians of the differences."""
    found = {}
    for name, (reads, packets) in SHAPES.items():
        one, two = _one_path(), _two_paths()
        rounds = [(_spent(one, reads, packets), _spent(two, reads, packets)) for _round in range(_ROUNDS)]
        found[name] = statistics.median(more - less for less, more in rounds)
        found[name.replace("_us", "_one_us")] = statistics.median(less for less, _more in rounds)
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    main()
