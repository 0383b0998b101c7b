# SPDX-License-Identifier: GPL-3.0-or-later
"""Inner packets: payloads of a peer, reads of a TUN, and the headers in both."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_network
from typing import TYPE_CHECKING

from mpquic.core import flows, inner
from mpquic.core.classes import classify
from mpquic.core.flows import FlowMemory
from mpquic.core.gate import OPEN, Gate, from_peer, martian, towards_server
from mpquic.core.icmp import TooBig
from mpquic.core.offload import BareCodec, VnetCodec, checksum
from mpquic.core.offload.legacy import LegacyCodec
from mpquic.core.offload.shape import locate
from mpquic.core.offload.sparse import sparse_first
from mpquic.core.prefixes import PrefixTable
from mpquic.core.roster import Member, Roster

from fuzzing.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from mpquic.core.types import Frame

    from fuzzing.decoder import Input

_MINE = Member("mine", tuple(map(ip_network, ["10.200.4.1/32", "172.16.4.0/30", "fd00:4::/64"])))
_YOURS = Member("yours", tuple(map(ip_network, ["10.200.5.0/30", "fd00:5::/64"])))
_OWN = {ip_address(own).packed for own in ("10.200.4.2", "fd00:4::fe")}
#: As many as no batch has.
_FLOWS = 200
_BARE = BareCodec()
_DEVICES = (VnetCodec(udp=True), VnetCodec(udp=False))


class Payloads(Decoder):
    """A batch of DATAGRAM payloads through every codec and a server's gate."""

    name = "payloads"
    quick = 2500
    longest = 1500

    def __init__(self, rng: Random) -> None:
        """Make the gate and the memory."""
        super().__init__(rng)
        self._gate = self._new_gate()
        self._flows = FlowMemory(_FLOWS)
        self._now = 0.0

    def feed(self, items: Input) -> bool:
        """Let the codecs judge; they must agree."""
        drops: Counter[str] = Counter()
        frames, packets, octets = _BARE.egress(items, drops, self._gate)
        assert packets == len(frames) == len(items) - drops.total()
        assert octets == sum(len(packet) for (packet,) in frames)
        for (packet,) in frames:
            assert isinstance(packet, bytes)
            assert inner.fault(packet, 0) is None
            source = ip_address(packet[12:16] if packet[0] >> 4 == 4 else packet[8:24])
            assert any(source in prefix for prefix in _MINE.allowed), "spoofed"
        for device in _DEVICES:
            refused: Counter[str] = Counter()
            writes, *counts = device.egress(items, refused, self._gate)
            assert counts == [packets, octets]
            assert refused == drops
            again: Counter[str] = Counter()
            payloads = device.ingress([b"".join(write) for write in writes], again)
            assert not again
            assert len(payloads) == packets
            assert sum(map(len, payloads)) == octets + packets
            self._learn(writes, device.header, {flows.key(packet, 0) for (packet,) in frames})
        counted: Counter[str] = Counter()
        _frames, packets, _octets = LegacyCodec(_DEVICES[0]).egress(items, counted, self._gate)
        assert packets + counted.total() == len(items)
        return bool(frames)

    def settle(self) -> None:
        """Forget pairs of addresses: how many are remembered is tested elsewhere."""
        self._gate = self._new_gate()
        self._flows = FlowMemory(_FLOWS)

    def _learn(self, writes: Sequence[Frame], at: int, expected: set[bytes]) -> None:
        """Remember flows out of what is written; merged or not, they are those of the packets."""
        self._now += 0.4
        starts = [flows.packet(write, at) for write in writes]
        assert {flows.key(start, at) for start in starts} == expected
        for start in starts:
            self._flows.learn(start, at, "mine", self._now)
            back = flows.turned(flows.key(start, at))
            assert back in self._flows._flows
            assert flows.turned(back) == flows.key(start, at)
            assert self._flows.carrier(start, at, self._now) in {None, "mine"}
        assert len(self._flows) <= _FLOWS

    def _new_gate(self) -> Gate:
        return from_peer(_MINE, Roster([_MINE, _YOURS]).table, _OWN)


class Reads(Decoder):
    """What a TUN device gives, with vnet headers and without."""

    name = "reads"
    quick = 4000

    def __init__(self, rng: Random) -> None:
        """Make the gate."""
        super().__init__(rng)
        self._gate = self._new_gate()

    def feed(self, items: Input) -> bool:
        """Cut, and check that what is cut can be handed on."""
        drops: Counter[str] = Counter()
        payloads = _DEVICES[0].ingress(items, drops)
        for codec in (*_DEVICES, _BARE):
            refused: Counter[str] = Counter()
            _frames, packets, octets = codec.egress(payloads, refused, OPEN)
            assert not refused, "what this end sends, the other end refuses"
            assert packets == len(payloads)
            assert octets == sum(map(len, payloads)) - packets
        assert LegacyCodec(_DEVICES[0]).ingress(items, Counter()) == [
            b"".join(frame) for frame in _BARE.egress(payloads, Counter(), OPEN)[0]
        ]
        _BARE.ingress(items, Counter())
        for at in (0, 10):
            first, rest = sparse_first(items, at)
            assert sorted((*first, *rest)) == sorted(items), "a packet lost or made"
            passed: Counter[str] = Counter()
            assert len(self._gate.passing(items, at, passed)) + passed.total() == len(items)
        return bool(payloads)

    def settle(self) -> None:
        """Forget pairs of addresses."""
        OPEN._remembered.clear()
        self._gate = self._new_gate()

    def _new_gate(self) -> Gate:
        return towards_server(PrefixTable([(prefix, True) for prefix in _MINE.allowed]))


class Headers(Decoder):
    """One IP packet, looked at by everything that looks at headers."""

    name = "ip-headers"
    quick = 10_000
    longest = 2000

    def __init__(self, rng: Random) -> None:
        """Make what answers."""
        super().__init__(rng)
        self._maker = TooBig(IPv4Interface("10.200.4.1/30"), IPv6Interface("fd00:4::1/64"))
        self._now = 0.0

    def feed(self, items: Input) -> bool:
        """Ask everybody."""
        (packet,) = items
        fault = inner.fault(packet, 0)
        assert inner.fault(b"0123456789" + packet, 10) == fault
        shape = locate(packet, 0)
        assert locate(b"x" + packet, 1) is shape
        for size in (4, 16):
            martian(packet[:size].ljust(size, b"\0"))
        sparse_first([packet, bytes(500), packet[:100]], 0)
        if fault is not None:
            assert shape is None, "plain TCP or UDP in what is no packet"
            return False
        size, first = len(packet), packet[0]
        if first >> 4 == 4:
            assert 20 <= (first & 15) * 4 <= size == int.from_bytes(packet[2:4], "big")
        else:
            assert first >> 4 == 6
            assert 40 <= size == int.from_bytes(packet[4:6], "big") + 40
        assert OPEN.fault(packet, 0) == ""
        assert classify(b"\0" + packet) in {0, 1, 2}
        assert len(flows.key(packet, 0)) in {9, 13, 33, 37}
        if shape is not None:
            assert 20 <= shape.transport < shape.end <= size
            complete = checksum.complete(packet, shape.transport, shape.checksum)
            assert len(complete) == len(packet)
        self._now += 0.2
        for mtu in (1280, 1200):
            answer = self._maker.answer(packet, mtu, self._now)
            if answer is not None:
                assert inner.fault(answer, 0) is None
                assert answer[0] >> 4 == first >> 4
                assert len(answer) <= (576 if first >> 4 == 4 else 1280)
                self.notes["too big"] += 1
        return True

    def settle(self) -> None:
        """Forget pairs of addresses."""
        OPEN._remembered.clear()
