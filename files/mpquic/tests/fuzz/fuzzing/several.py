# SPDX-License-Identifier: GPL-3.0-or-later
"""A tunnel over several paths: policies, numbered payloads, and reports on paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from mpquic.core import wire
from mpquic.core.ackclock import AckClock
from mpquic.core.capsules import ProtocolError
from mpquic.core.fit import Fit
from mpquic.core.gate import from_peer
from mpquic.core.icmp import TooBig
from mpquic.core.lane import Lane
from mpquic.core.messages import MAX_POLICY
from mpquic.core.multipath import policy_wire, report
from mpquic.core.multipath.bundle import Bundle
from mpquic.core.multipath.gathering import Gathering
from mpquic.core.multipath.policy import PathSpec, Policy, TrafficClass
from mpquic.core.multipath.reorder import CAPACITY, CAPACITY_OCTETS
from mpquic.core.path import Path
from mpquic.core.roster import Member, Roster
from mpquic.core.types import Counters

from fuzzing import corpus
from fuzzing.decoder import Decoder

if TYPE_CHECKING:
    from random import Random

    from mpquic.core.types import Address, Datagram

    from fuzzing.decoder import Input
    from fuzzing.mutation import Mutator

_MEMBER = Member("mine", tuple(map(ip_network, ["10.200.4.1/32", "172.16.4.0/30", "fd00:4::/64"])))
_POLICY = Policy(
    1,
    tuple([PathSpec(number, f"wan{number}", number // 2, number, 1, None) for number in (1, 2, 3)]),
    (
        TrafficClass("default", "priority"),
        TrafficClass("copied", "failover", copies=2),
        TrafficClass("sprayed", "balanced", spray=True),
    ),
)
#: Paths of an accepted policy that have a connection.
_CONNECTED = 4
#: A sequenced payload, up to its number.
_HEAD = 3


@dataclass
class _Line:
    """A connection on which nothing is lost."""

    clock: AckClock = field(default_factory=AckClock)
    datagram_size: int = 1400
    max_payload: int = 1370
    congestion_controlled: bool = False
    peer: Address = ("192.0.2.1", 45001)

    def ping(self) -> None:
        """Nothing is asked for."""

    def seal(self, payloads: list[bytes], now: float) -> tuple[list[Datagram], int]:
        """Take everything, and acknowledge it."""
        if payloads:
            self.clock.sent(now, len(payloads))
            self.clock.acked(now, len(payloads))
            self.clock.rtt(0.02)
        return [(payload, self.peer) for payload in payloads], len(payloads)


def _path(spec: PathSpec, known: Path | None, _capacity: int) -> Path:
    if known is not None:
        return known
    lane = Lane(Counters(), front=wire.SEQUENCED_OVERHEAD)
    return Path(spec.number, spec.name, lane, Fit(lane, TooBig()), link=spec.link)


def _connect(bundle: Bundle, path: Path, now: float) -> None:
    line: Any = _Line()
    path.connection = line
    bundle.connected(path, now)


def _flush(bundle: Bundle, paths: list[Path], now: float) -> list[bytes]:
    """Return what leaves by these paths."""
    left: list[bytes] = []
    for path in {*paths, *bundle.touched()}:
        if path.connection is not None:
            left += [data for data, _to in path.lane.flush(path.connection, now)]
    return left


class Policies(Decoder):
    """Policies, and what a server makes of those that it accepts."""

    name = "policy"
    quick = 2000
    longest = MAX_POLICY + 100
    tokens = (b"\xff", b"\0", b"\4wan1", b"\4\x0a\0\0\0\x08", b"\7default")

    def __init__(self, rng: Random) -> None:
        """Take packets to be spread."""
        super().__init__(rng)
        packets = [item[1:] for items in corpus.load("payloads").values() for item in items if item[:1] == b"\0"]
        self._reads = [packet for packet in packets if len(packet) > 28]

    def feed(self, items: Input) -> bool:
        """Decode, and spread packets by it."""
        data = b"".join(items)
        try:
            policy = policy_wire.decode(data)
        except ProtocolError:
            return False
        assert policy_wire.decode(policy_wire.encode(policy)) == policy
        self._serve(policy)
        return True

    def _serve(self, policy: Policy) -> None:
        counters, now = Counters(), 100.0
        gathering = Gathering()
        gathering.follow(b"", policy, _path, counters, now)
        bundle = gathering.bundle
        assert bundle is not None
        assert list(bundle.paths) == [spec.number for spec in policy.paths]
        for path in list(bundle.paths.values())[:_CONNECTED]:
            _connect(bundle, path, now)
        for _round in range(2):
            now += 0.01
            left = _flush(bundle, bundle.send(self._reads, now), now)
            packets = [payload for payload in left if payload[0] == wire.CONTEXT_SEQUENCED]
            assert len(packets) <= policy_wire.MAX_COPIES * len(self._reads)
            now += 0.3
            bundle.fire(now)
        assert len(bundle.classes()) == len(policy.classes)


class PathStatus(Decoder):
    """Reports of a peer."""

    name = "path-status"
    quick = 3000
    longest = 2100

    def __init__(self, rng: Random) -> None:
        """Make the end that hears them."""
        super().__init__(rng)
        self._now = 100.0
        self._bundle = self._new_bundle()

    def feed(self, items: Input) -> bool:
        """Decode, and let a server hear them."""
        good = True
        for item in items:
            found = report.decode(item)
            if found is None:
                good = False
                continue
            number, paths = found
            assert 0 <= number < 1 << 32
            again = report.decode(report.encode(number, paths))
            assert again is not None
            assert [(seen.path, seen.state) for seen in again[1]] == [(seen.path, seen.state) for seen in paths]
        self._now += 0.02
        bundle, now = self._bundle, self._now
        assert bundle.accept(bundle.paths[1], items, now) == []
        bundle.fire(now)
        for path in bundle.paths.values():
            assert path.health is not None
            assert 0 <= path.health.rank <= 4
            assert 0 <= path.health.peer_loss <= 1
        bundle.changes()
        _flush(bundle, [], now)
        return good

    def settle(self) -> None:
        """Begin anew."""
        self._bundle = self._new_bundle()

    def _new_bundle(self) -> Bundle:
        bundle = Bundle(_POLICY, Counters(), self._now, server=True)
        bundle.configure(_POLICY, {spec.number: _path(spec, None, 0) for spec in _POLICY.paths}, self._now)
        for path in bundle.paths.values():
            _connect(bundle, path, self._now)
        return bundle


class Sequenced(Decoder):
    """Numbered payloads by several paths, through a server's end and its gate."""

    name = "sequenced"
    quick = 2500
    longest = 1500
    #: Flows and pairs of addresses are remembered, some more for each that is seen: settle() forgets them.
    max_blocks = 1000

    def __init__(self, rng: Random) -> None:
        """Make the end that takes them."""
        super().__init__(rng)
        self._now = 100.0
        self.settle()

    def generate(self, mutator: Mutator) -> Input:
        """Return payloads, most of them with numbers that were not there before."""
        items = list(mutator.next())
        following = self._bundle._receiver._dedup.following.copy()
        for at, item in enumerate(items):
            if len(item) > _HEAD + 4 and self.rng.random() < 0.8:
                bucket = item[_HEAD - 1]
                number = (following[bucket] + self.rng.choice((-3, 0, 0, 0, 1))) & 0xFFFFFFFF
                following[bucket] = (number + 1) & 0xFFFFFFFF
                items[at] = item[:_HEAD] + number.to_bytes(4, "big") + item[_HEAD + 4 :]
        return tuple(items)

    def feed(self, items: Input) -> bool:
        """Let them come by one of the paths."""
        self._now += self.rng.choice((0.0, 0.0001, 0.05))
        now, bundle, counters = self._now, self._bundle, self._counters
        before = counters.rx_packets
        path = bundle.paths[self.rng.choice((1, 2, 3))]
        frames = bundle.accept(path, items, now)
        bundle.fire(now)
        frames += bundle.released()
        assert len(frames) == counters.rx_packets - before
        for (packet,) in frames:
            source = ip_address(packet[12:16] if packet[0] >> 4 == 4 else packet[8:24])  # type: ignore[arg-type]
            assert any(source in prefix for prefix in _MEMBER.allowed), "spoofed"
        reorder = bundle._receiver.reorder
        self._taken += len(items)
        assert reorder.waiting <= CAPACITY
        assert reorder._octets <= CAPACITY_OCTETS
        dups = sum([each.rx_dups for each in bundle._tally.by_index])
        refused = sum([count for reason, count in counters.drops.items() if reason != "duplicate"])
        assert counters.rx_packets + refused + dups + reorder.waiting >= self._taken - self._heard(items)
        answers = [bytes(packet[:12] + packet[16:20] + packet[12:16] + packet[20:]) for (packet,) in frames[:4]]
        _flush(bundle, bundle.send(answers, now), now)
        return bool(frames)

    def settle(self) -> None:
        """Begin anew: what is remembered of flows and addresses is bounded, and tested elsewhere."""
        self._counters = Counters()
        self._taken = self._reports = 0
        self._bundle = Bundle(_POLICY, self._counters, self._now, server=True)
        self._bundle.gate = from_peer(_MEMBER, Roster([_MEMBER]).table, set())
        paths = {spec.number: _path(spec, None, 0) for spec in _POLICY.paths}
        self._bundle.configure(_POLICY, paths, self._now)
        for path in paths.values():
            _connect(self._bundle, path, self._now)

    def _heard(self, items: Input) -> int:
        """Return how many reports there were so far: they are no packets."""
        self._reports += sum([item[:1] == bytes([wire.CONTEXT_STATUS]) for item in items])
        return self._reports
