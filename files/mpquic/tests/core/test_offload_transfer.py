# SPDX-License-Identifier: GPL-3.0-or-later
"""Real sockets in two namespaces, with TUN devices and codecs between them; and the kernel cuts the same once more."""

from __future__ import annotations

import hashlib
import os
import random
import selectors
import socket
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from kernel import SENDERS, Kernel, Namespace, ip, open_plain, start_tun, sysctl
from mpquic.core.gate import OPEN
from mpquic.core.offload import BareCodec, VnetCodec
from mpquic.io import tun
from packets import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

HOSTS = ("10.81.1.2", "10.81.2.2")
HOSTS_V6 = ("fd81:1::2", "fd81:2::2")
UDP_SEGMENT = 103


def nothing(payloads: list[bytes]) -> list[bytes]:
    return payloads


class Losses:
    """Loses, repeats and delays some payloads, and marks some of IPv4 as having met congestion (RFC 3168)."""

    def __init__(self) -> None:
        self.random = random.Random(7)
        self.marked = 0
        self.late: list[bytes] = []

    def __call__(self, payloads: list[bytes]) -> list[bytes]:
        found, self.late = self.late, []
        for payload in payloads:
            draw = self.random.random()
            if draw < 0.003:
                continue
            if draw < 0.006:
                self.late.append(payload)
                continue
            if draw < 0.015 and payload[1] == 0x45 and payload[2] & 3 == 2:
                self.marked += 1
                header = payload[1:2] + bytes([payload[2] | 3]) + payload[3:11] + b"\x00\x00" + payload[13:21]
                fixed = header[:10] + (0xFFFF - words(header)).to_bytes(2, "big") + header[12:]
                found.append(payload[:1] + fixed + payload[21:])
                continue
            found += [payload, payload] if draw < 0.018 else [payload]
        return found


class Pair:
    """Two hosts, one at each end of a tunnel."""

    def __init__(self, *, plain: bool) -> None:
        self.drops: Counter[str] = Counter()
        self.spaces = (Namespace(), Namespace())
        self.devices: list[tun.TunDevice] = []
        self.reads: list[bytes] = []
        self.writes = 0
        self.packets = 0
        for number, space in enumerate(self.spaces):
            with space.entered():
                opener = open_plain if plain and number == 1 else tun.open_tun
                addresses = f"{HOSTS[number]}/32", f"{HOSTS_V6[number]}/128"
                self.devices.append(start_tun("mqo0", opener, self.drops, *addresses, mtu=1300))
                ip("link set lo up")
                ip("route add 10.81.0.0/16 dev mqo0")
                ip("route add fd81::/16 dev mqo0")
                sysctl("ipv4/tcp_ecn", 1)

    def socket(self, end: int, family: int, kind: int) -> socket.socket:
        with self.spaces[end].entered():
            return socket.socket(family, kind | socket.SOCK_NONBLOCK)

    def carry(self, end: int, wire: Callable[[list[bytes]], list[bytes]]) -> int:
        """Take what one host has sent to the other; return how many payloads that was."""
        near, far = self.devices[end], self.devices[1 - end]
        reads = near.read()
        if end == 0:
            self.reads += reads
        payloads = near.codec.ingress(reads, self.drops)
        frames, packets, _octets = far.codec.egress(wire(payloads), self.drops, OPEN)
        self.packets += packets
        self.writes += len(frames)
        far.write(frames)
        return len(reads)

    def close(self) -> None:
        for device in self.devices:
            device.close()
        for space in self.spaces:
            space.close()


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with closing(Pair(plain=getattr(request, "param", False))) as found:
        yield found


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with closing(Kernel()) as found:
        yield found


class Flow:
    """One TCP connection that carries some bytes one way."""

    def __init__(self, pair: Pair, end: int, number: int, family: int) -> None:
        host = (HOSTS if family == socket.AF_INET else HOSTS_V6)[1 - end]
        self.data = random.Random(number).randbytes(700_000 + number)
        self.sent = 0
        self.got = hashlib.sha256()
        self.size = 0
        self.done = False
        self.listener = pair.socket(1 - end, family, socket.SOCK_STREAM)
        self.listener.bind((host, 7000 + number))
        self.listener.listen()
        self.sender = pair.socket(end, family, socket.SOCK_STREAM)
        self.sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.sender.connect_ex((host, 7000 + number))
        self.receiver: socket.socket | None = None
        self.number = number

    def turn(self) -> None:
        """Send and receive what is possible now."""
        try:
            while self.sent < len(self.data):
                # Odd pieces, an urgent byte among them, so that there are pushes and short segments.
                urgent = self.number % 3 == 1 and self.sent == 0
                size = 1 if urgent else 1 + self.sent * 7919 % 50_000
                self.sent += self.sender.send(self.data[self.sent : self.sent + size], socket.MSG_OOB if urgent else 0)
            self.sender.shutdown(socket.SHUT_WR)
        except (BlockingIOError, BrokenPipeError, OSError):
            pass
        try:
            if self.receiver is None:
                self.receiver, _address = self.listener.accept()
                self.receiver.settimeout(0)
                self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            while data := self.receiver.recv(1 << 16):
                self.got.update(data)
                self.size += len(data)
            self.done = True
        except BlockingIOError:
            pass

    def close(self) -> None:
        for one in (self.sender, self.receiver, self.listener):
            if one is not None:
                one.close()


def transfer(pair: Pair, family: int, wire: Callable[[list[bytes]], list[bytes]]) -> None:
    """Carry three flows each way at once and compare what arrives."""
    flows = [Flow(pair, end, 2 * number + end, family) for number in range(3) for end in (0, 1)]
    deadline = time.monotonic() + 30
    try:
        with selectors.DefaultSelector() as selector:
            for device in pair.devices:
                selector.register(device, selectors.EVENT_READ)
            while not all(flow.done for flow in flows):
                assert time.monotonic() < deadline, [(flow.number, flow.sent, flow.size) for flow in flows]
                for flow in flows:
                    flow.turn()
                if not sum(pair.carry(end, wire) for end in (0, 1)):
                    selector.select(0.05)
        for flow in flows:
            assert flow.got.digest() == hashlib.sha256(flow.data).digest()
    finally:
        for flow in flows:
            flow.close()
    assert not pair.drops


def replay(pair: Pair, kernel: Kernel) -> Counter[int]:
    """Compare how the kernel and how the codec cut what the one host's kernel has sent; return kinds of packets."""
    kinds: Counter[int] = Counter()
    for read in pair.reads:
        v4 = read[10] >> 4 == 4
        if not {read[22:26], read[18:34]} & SENDERS:
            continue
        drops: Counter[str] = Counter()
        through = kernel.forward([[read]])
        at = 18 if v4 else 17
        hop = read[:at] + bytes([read[at] - 1]) + read[at + 1 :]
        if v4:
            header = hop[10:20] + b"\x00\x00" + hop[22:30]
            hop = hop[:20] + (0xFFFF - words(header)).to_bytes(2, "big") + hop[22:]
        frames, _packets, _octets = BareCodec().egress(VnetCodec(udp=True).ingress([hop], drops), drops, OPEN)
        assert [b"".join(frame) for frame in frames] == through
        assert not drops
        kinds[read[1]] += 1
    assert not kernel.drops
    return kinds


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["4", "6"])
@pytest.mark.parametrize("pair", [False, True], ids=["both", "one"], indirect=True)
def test_three_flows_each_way(pair: Pair, kernel: Kernel, family: int) -> None:
    transfer(pair, family, nothing)
    if isinstance(pair.devices[1].codec, VnetCodec):
        assert pair.writes < pair.packets / 2
    kinds = replay(pair, kernel)
    assert kinds[1 if family == socket.AF_INET else 4] > 10


def test_flows_survive_loss_and_reordering_and_marks(pair: Pair, kernel: Kernel) -> None:
    for space in pair.spaces:
        with space.entered():
            sysctl("ipv4/tcp_timestamps", 0)
    losses = Losses()
    transfer(pair, socket.AF_INET, losses)
    assert losses.marked
    kinds = replay(pair, kernel)
    # CWR was said, on packets of many segments as well.
    assert kinds[0x81]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["4", "6"])
@pytest.mark.parametrize("pair", [False, True], ids=["both", "one"], indirect=True)
def test_datagrams_of_every_kind(pair: Pair, kernel: Kernel, family: int) -> None:
    source, target = HOSTS if family == socket.AF_INET else HOSTS_V6
    near, far = (pair.socket(end, family, socket.SOCK_DGRAM) for end in (0, 1))
    with near, far:
        far.bind((target, 7000))
        near.bind((source, 7001))
        near.connect((target, 7000))
        sent: list[bytes] = []
        # Small, full, in fragments, and many in one call.
        for number, size in enumerate((0, 1, 999, 1272, 5000)):
            sent.append(random.Random(number).randbytes(size))
            near.send(sent[-1])
        many = random.Random(9).randbytes(30_500)
        near.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
        near.send(many)
        sent += [many[at : at + 1000] for at in range(0, len(many), 1000)]
        assert pair.carry(0, nothing)
        got = [far.recv(1 << 16) for _datagram in sent]
        assert got == sent
        with pytest.raises(BlockingIOError):
            far.recv(1)
    assert not pair.drops
    assert replay(pair, kernel)[5] == 1
