# SPDX-License-Identifier: GPL-3.0-or-later
"""Random reads and payloads of every kind, given to the reference and to its native twin."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from compiled import library
from mpquic.core.gate import OPEN, Gate
from mpquic.core.offload import VnetCodec
from mpquic.io.native_codec import NativeCodec
from packets import ACK, CWR, ECE, FIN, PADDING, PSH, RST, SYN, TCP, TIMESTAMPS, UDP, URG, Packet

if TYPE_CHECKING:
    from collections.abc import Iterable

_STEPS = (1, 2, 3, 100, 536, 1000, 1236, 1236, 1248, 1399)
_PLAIN = (ACK,) * 8 + (ACK | PSH, ACK | FIN, ACK | CWR, ACK | ECE, ACK | URG, SYN, RST, PSH)
#: Where a counter runs over.
_ENDS = (0, 1, 2, 5, 65533, 65535)
_SEQUENCES = (0, 1, 2**32 - 1, 2**32 - 2500, 2**32 - 100_000)
_CONTEXTS = (
    b"\x00",
    b"\x06",
    b"\x06",
    b"\x06",
    b"\x40\x00",
    b"\x40\x06",
    b"\x80\x00\x00\x06",
    b"\x01",
    b"\x02",
    b"\xc0",
)


class Traffic:
    """Packets that are alike, so that some of them merge and some nearly do."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._packets = [self._packet() for _flow in range(self.random.choice((1, 1, 2, 3, 30)))]

    def _packet(self) -> Packet:
        choose = self.random
        packet = Packet(
            protocol=choose.choice((TCP, TCP, TCP, UDP)),
            tos=choose.choice((0, 0, 184, 3)),
            ports=(choose.choice((40000, 40001, choose.randrange(65536))), 443),
        )
        if choose.random() < 0.4:
            packet = replace(packet, source=choose.choice(("fd81::2", "fd81::3")), target="fd81:2::2")
            if choose.random() < 0.1:
                packet = replace(packet, extension=PADDING)
        else:
            packet = replace(
                packet,
                source=choose.choice(("10.81.1.2", "10.81.1.3")),
                ident=choose.choice((*_ENDS, choose.randrange(65536))),
                fragment=choose.choice((0x4000, 0x4000, 0x4000, 0, 0, 0x2000, 0x4001)),
                ip_options=choose.choice((b"", b"", b"", bytes(4), bytes(40))),
            )
        if packet.protocol == TCP:
            packet = replace(
                packet,
                sequence=choose.choice((*_SEQUENCES, choose.randrange(2**32))),
                tcp_options=choose.choice((b"", TIMESTAMPS, TIMESTAMPS, bytes(40))),
            )
        return packet

    def giant(self) -> tuple[Packet, int]:
        """Return a packet of some flow, which goes on behind it, and the size of its segments."""
        choose = self.random
        at = choose.randrange(len(self._packets))
        packet, step = self._packets[at], choose.choice(_STEPS)
        size = step * choose.choice((1, 1, 2, 3, 7, 45)) + choose.choice((0, 0, 0, 1, step // 2))
        size = min(size, 400 if step < 10 else 65535 - packet.headers)
        packet = replace(packet, body=choose.randbytes(size), flags=choose.choice(_PLAIN))
        segments = max(1, -(-size // step))
        self._packets[at] = replace(packet, sequence=packet.sequence + size, ident=(packet.ident + segments) & 0xFFFF)
        return packet, step

    def mutated(self, data: bytes) -> bytes:
        """Return it with some bytes changed, or cut off."""
        choose, changed = self.random, bytearray(data)
        for _byte in range(choose.choice((0, 1, 1, 3))):
            if changed:
                changed[choose.randrange(min(len(changed), 80))] = choose.choice(
                    (0, 1, 6, 17, 255, choose.randrange(256))
                )
        return bytes(changed[: choose.choice((len(changed), len(changed), choose.randrange(len(changed) + 1)))])

    def reads(self) -> list[bytes]:
        """Return what may be read from a device."""
        choose = self.random
        reads = []
        for _read in range(choose.choice((1, 2, 5, 30))):
            packet, step = self.giant()
            kind = choose.random()
            if kind < 0.6:
                read = packet.read(step if len(packet.body) > step or choose.random() < 0.1 else 0)
            elif kind < 0.75:
                read = bytes(10) + packet.complete()
            elif kind < 0.85:
                # Its checksum is known already.
                read = packet.read(step)
                read = b"\x02" + read[1:6] + bytes(4) + read[10:]
            else:
                read = choose.randbytes(choose.randrange(80))
            reads.append(self.mutated(read) if choose.random() < 0.15 else read)
        return reads

    def payloads(self) -> list[bytes]:
        """Return what a peer may send."""
        choose = self.random
        flows: list[list[bytes]] = []
        for _burst in range(choose.choice((1, 1, 2, 5))):
            packet, step = self.giant()
            segments = [b"\x06" + bytes(segment) for segment in packet.segments(step)]
            if choose.random() < 0.2:
                segments = [b"\x00" + segment.complete() for segment in packet.segments(step)]
            flows.append(segments)
        payloads = [payload for flow in flows for payload in flow]
        if choose.random() < 0.4:
            # Interleaved, each flow in order.
            order = [number for number, flow in enumerate(flows) for _payload in flow]
            choose.shuffle(order)
            taken = [iter(flow) for flow in flows]
            payloads = [next(taken[number]) for number in order]
        for _accident in range(choose.choice((0, 0, 1, 2, 10))):
            at = choose.randrange(len(payloads) + 1)
            accident = choose.randrange(5)
            if not payloads or at == len(payloads):
                rest = choose.choice((0, 1, choose.randrange(60)))
                payloads.insert(at, choose.choice(_CONTEXTS)[: choose.choice((0, 1, 4))] + choose.randbytes(rest))
            elif accident == 0:
                payloads[at] = self.mutated(payloads[at])
            elif accident == 1:
                payloads[at] = choose.choice(_CONTEXTS) + payloads[at][1:]
            elif accident == 2:
                payloads.insert(choose.randrange(len(payloads)), payloads.pop(at))
            elif accident == 3:
                payloads.insert(at, payloads[at])
            else:
                payloads[at] = choose.choice((b"", b"\x40", b"\x80\x00", b"\x40\x00"))
        return payloads

    def gate(self) -> Gate:
        """Return what may pass, some of all addresses."""
        if self.random.random() < 0.5:
            return OPEN
        salt, share = self.random.randbytes(4), self.random.choice((0.1, 0.5))
        return Gate(
            lambda source, target: self._verdict(salt + source + target, share)  # the same for the same pair
        )

    @staticmethod
    def _verdict(key: bytes, share: float) -> str:
        drawn = random.Random(key).random()
        return "" if drawn >= share else "source" if drawn < share / 2 else "martian"


def compare(seed: int) -> int:
    """Compare one round of both ways; return how many packets it had."""
    traffic = Traffic(seed)
    udp = seed % 3 != 0
    pure, native = VnetCodec(udp=udp), NativeCodec(library(), udp=udp)
    packets = 0
    for _batch in range(20):
        reads = traffic.reads()
        expected, found = Counter(), Counter()
        ends: tuple[list[int], list[int]] = ([], [])
        payloads = pure.ingress(reads, expected, ends[0])
        assert native.ingress(reads, found, ends[1]) == payloads, seed
        assert (found, ends[0]) == (expected, ends[1]), seed
        packets += len(payloads)
        for batch in (payloads, traffic.payloads()):
            gate = traffic.gate()
            pure_drops, native_drops = Counter(), Counter()
            frames, *counts = pure.egress(batch, pure_drops, gate)
            twins, *twin_counts = native.egress(batch, native_drops, gate)
            assert [b"".join(frame) for frame in twins] == [b"".join(frame) for frame in frames], seed
            assert (twin_counts, native_drops) == (counts, pure_drops), seed
            packets += len(batch)
    return packets


def met(seeds: Iterable[int]) -> dict[str, int]:
    """Return how often the comparison has met what it is there for."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        traffic = Traffic(seed)
        codec = VnetCodec(udp=True)
        for _batch in range(20):
            counts["cut"] += sum(read[1:2] > b"\0" for read in traffic.reads())
            gate = traffic.gate()
            frames, _packets, _octets = codec.egress(traffic.payloads(), counts, gate)
            kinds = Counter(b"".join(frame)[1] for frame in frames)
            for name, kind in (("lone", 0), ("TSO4", 1), ("TSO6", 4), ("USO", 5)):
                counts[name] += kinds[kind]
    reasons = ("source", "martian", "malformed", "context", "partial", "inner_length", "inner_version", "inner_short")
    return {name: counts[name] for name in ("cut", "lone", "TSO4", "TSO6", "USO", *reasons)}
