# SPDX-License-Identifier: GPL-3.0-or-later
"""Byte for byte: what the codec does against what the kernel does with the same packets.

One TUN device has offload, the other has none. The kernel forwards what is written to the first, so it must cut it and
complete its checksums in software before it comes out of the second.
"""

from __future__ import annotations

import os
import random
import struct
from collections import Counter
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from kernel import V4, V6, Kernel
from mpquic.core.gate import OPEN
from mpquic.core.offload import BareCodec, VnetCodec
from packets import ACK, CWR, ECE, FIN, PADDING, PSH, TCP, TIMESTAMPS, UDP, URG, Packet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with closing(Kernel()) as found:
        yield found


#: No operation, three times, and the end of the list: IPv4 options that nobody acts on.
OPTIONS = b"\x01\x01\x01\x00"
SHAPES = {
    "tcp4": V4,
    "tcp4 timestamps": replace(V4, tcp_options=TIMESTAMPS),
    "tcp4 psh": replace(V4, flags=ACK | PSH),
    "tcp4 fin psh": replace(V4, flags=ACK | PSH | FIN),
    "tcp4 urg": replace(V4, flags=ACK | URG, urgent=77),
    "tcp4 ect cwr": replace(V4, flags=ACK | CWR | PSH, tos=2),
    "tcp4 ce ece": replace(V4, flags=ACK | ECE, tos=3),
    "tcp4 options": replace(V4, ip_options=OPTIONS, tcp_options=TIMESTAMPS),
    "tcp4 no df": replace(V4, fragment=0),
    "tcp4 id wraps": replace(V4, ident=65534),
    "tcp4 sequence wraps": replace(V4, sequence=2**32 - 2000),
    "tcp6": V6,
    "tcp6 timestamps": replace(V6, tcp_options=TIMESTAMPS, flags=ACK | PSH),
    "tcp6 fin": replace(V6, flags=ACK | FIN),
    "tcp6 ect cwr": replace(V6, flags=ACK | CWR, tos=2),
    "tcp6 sequence wraps": replace(V6, sequence=2**32 - 2000),
    "tcp6 extension": replace(V6, extension=PADDING, tcp_options=TIMESTAMPS),
    "udp4": replace(V4, protocol=UDP),
    "udp4 options": replace(V4, protocol=UDP, ip_options=OPTIONS, tos=0xB8),
    "udp4 id wraps": replace(V4, protocol=UDP, ident=65534),
    "udp6": replace(V6, protocol=UDP),
    "udp6 extension": replace(V6, protocol=UDP, extension=PADDING),
}


def completed(payloads: Sequence[bytes]) -> list[bytes]:
    """Return the packets that a device without offload gets."""
    drops: Counter[str] = Counter()
    frames, packets, _octets = BareCodec().egress(payloads, drops, OPEN)
    assert not drops
    assert packets == len(payloads)
    return [b"".join(frame) for frame in frames]


@pytest.mark.parametrize("name", SHAPES)
def test_cuts_as_the_kernel_does(kernel: Kernel, name: str) -> None:
    shape = SHAPES[name]
    room = 65535 - shape.headers
    cases = [(1, 0), (1400, 0), (1301, 1300), (2600, 1300), (4000, 999), (room // 40, 1000), (room, 1393)]
    if shape.protocol == TCP:
        cases += [(500, 10), (1999, 88), (room, 536)]
    for size, step in cases:
        body = random.Random(size).randbytes(size)
        # The kernel counts the time to live down on the way.
        through = kernel.forward([[replace(shape, body=body, ttl=65).read(step)]])
        drops: Counter[str] = Counter()
        ours = VnetCodec(udp=True).ingress([replace(shape, body=body).read(step)], drops)
        assert not drops
        assert not kernel.drops
        assert completed(ours) == through, (size, step)
        assert len(ours) == max(1, -(-size // step) if step else 1)
        assert [len(packet) - shape.headers <= (step or size) for packet in through] == [True] * len(through)
        # Only what no receiver of ours could complete is completed here.
        assert {payload[0] for payload in ours} == ({0} if shape.extension else {6})


def payloads_of(packets: Sequence[Packet]) -> list[bytes]:
    return [b"\x06" + bytes(packet) for packet in packets]


@pytest.mark.parametrize("name", [name for name in SHAPES if "extension" not in name])
def test_what_is_merged_comes_apart_in_the_kernel_as_it_was(kernel: Kernel, name: str) -> None:
    shape = SHAPES[name]
    room = 65535 - shape.headers
    for size, step in [(1, 1), (1300, 1300), (1301, 1300), (2600, 1300), (4000, 999), (room, 1000), (60000, 500)]:
        body = random.Random(size).randbytes(size)
        drops: Counter[str] = Counter()
        segments = replace(shape, body=body, ttl=65).segments(step)
        frames, packets, octets = VnetCodec(udp=True).egress(payloads_of(segments), drops, OPEN)
        assert not drops
        assert (packets, octets) == (len(segments), sum(len(bytes(packet)) for packet in segments))
        through = kernel.forward(frames)
        assert not kernel.drops
        assert through == [packet.complete() for packet in replace(shape, body=body).segments(step)], (size, step)
        # What may be merged was: FIN, CWR, URG and ECE stand alone, and 64 datagrams are one packet.
        alone = sum(bool(packet.flags & ~(ACK | PSH)) for packet in segments)
        bound = alone + 2 + (len(segments) // 64 if shape.protocol == UDP else 0)
        assert len(frames) <= bound, (size, step)


def test_lone_and_strange_packets_pass_the_device(kernel: Kernel) -> None:
    packets = [
        replace(shape, body=random.Random(size).randbytes(size), ident=size, sequence=size)
        for size in (0, 1, 2, 999, 1400)
        for shape in (V4, V6, replace(V4, flags=ACK | PSH), replace(V4, protocol=UDP), replace(V6, protocol=UDP))
    ]
    finished = [b"\x00" + replace(packet, ttl=65).complete() for packet in packets]
    partial = payloads_of([replace(packet, ttl=65) for packet in packets])
    fragments = [
        b"\x00" + bytes(replace(V4, protocol=UDP, fragment=fragment, ttl=65, body=b"half" * 100, pseudo=77))
        for fragment in (0x2000, 0x2032, 0x0064)
    ]
    drops: Counter[str] = Counter()
    payloads = [payload for pair in zip(finished, partial, strict=True) for payload in pair] + fragments
    frames, accepted, _octets = VnetCodec(udp=True).egress(payloads, drops, OPEN)
    through = kernel.forward(frames)
    assert accepted == len(payloads)
    assert not drops
    assert not kernel.drops
    assert through[: 2 * len(packets)] == [packet.complete() for packet in packets for _twice in "12"]
    assert len(through) == 2 * len(packets) + 3


@pytest.mark.parametrize("shape", [V4, V6], ids=["4", "6"])
def test_a_checksum_of_something_else_is_completed_as_the_kernel_does(kernel: Kernel, shape: Packet) -> None:
    """DCCP, GRE and what else has a checksum: only the vnet header knows where."""
    for number in range(40):
        body = random.Random(number).randbytes(100 + number)
        read = bytearray(replace(shape, protocol=UDP, body=body, ttl=64).read())
        start, offset = shape.transport + number % 7 * 2, 2 * (number % 5)
        read[6:10] = struct.pack("<HH", start, offset)
        drops: Counter[str] = Counter()
        ours = VnetCodec(udp=True).ingress([bytes(read)], drops)
        forwarded = bytearray(replace(shape, protocol=UDP, body=body, ttl=65).read())
        forwarded[6:10] = read[6:10]
        through = kernel.forward([[bytes(forwarded)]])
        assert not drops
        if (start, offset) == (shape.transport, 6):
            assert completed(ours) == through
        else:
            assert ours == [b"\x00" + packet for packet in through]
        assert len(through) == 1
