# SPDX-License-Identifier: GPL-3.0-or-later
"""The data path between a TUN and a connection: what passes untouched and what waits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import pytest
from mpquic.core import queue as queue_module
from mpquic.core import wire
from mpquic.core.ackclock import AckClock
from mpquic.core.lane import MAX_OUTSTANDING, Lane
from mpquic.core.offload import BareCodec
from mpquic.core.offload.legacy import LegacyCodec
from mpquic.core.queue import MAX_AGE
from mpquic.core.types import Counters

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.types import Address, Datagram

_PEER: Address = ("192.0.2.2", 45001)
_OVERHEAD = 30
#: Ethernet, IPv4, UDP.
_FRAME = 42


class Wire:
    """A connection that takes ``window`` payloads and adds the bytes that QUIC would."""

    def __init__(self, window: float = math.inf, peer: Address = _PEER) -> None:
        self.clock = AckClock()
        self.datagram_size = 1400
        self.congestion_controlled = False
        self.window, self.peer = window, peer
        self.calls: list[list[bytes]] = []
        self.left: list[bytes] = []
        self.extra: list[bytes] = []

    @property
    def max_payload(self) -> int:
        return self.datagram_size - _OVERHEAD

    def seal(self, payloads: list[bytes], now: float) -> tuple[list[Datagram], int]:
        self.calls.append(payloads)
        taken = int(min(len(payloads), self.window))
        self.window -= taken
        self.left += payloads[:taken]
        self.clock.sent(now, taken)
        extra, self.extra = self.extra, []
        return [(data, self.peer) for data in [*extra, *[bytes(_OVERHEAD) + item for item in payloads[:taken]]]], taken


class End:
    """A lane with its wire."""

    def __init__(
        self, rate: int | None = None, *, window: float = math.inf, peer: Address = _PEER, front: int = wire.OVERHEAD
    ) -> None:
        self.counters = Counters()
        self.lane = Lane(self.counters, rate, front=front)
        self.wire = Wire(window, peer)
        self.number = 0

    def offer(self, count: int, now: float, *, size: int = 1000, dscp: int = 0) -> list[bytes]:
        packets = []
        for _ in range(count):
            self.number += 1
            head = bytes([0x45, dscp << 2]) + size.to_bytes(2, "big") + self.number.to_bytes(4, "big")
            packets.append(head + bytes(size - 8))
        self.lane.offer(packets, cast("Connection", self.wire), now)
        return [b"\0" + packet for packet in packets]

    def flush(self, now: float) -> Sequence[Datagram]:
        return self.lane.flush(cast("Connection", self.wire), now)


class Remembering(BareCodec):
    """Keeps the list it made last."""

    def ingress(self, reads: Sequence[bytes], drops: Counter[str]) -> list[bytes]:
        self.made = super().ingress(reads, drops)
        return self.made


@pytest.mark.parametrize("rate", [None, 10_000_000_000])
def test_what_can_leave_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, rate: int | None) -> None:
    """The common case hands the codec's list to the connection, the very same object."""

    def never(_payload: bytes) -> int:
        raise AssertionError("classified a packet that need not wait")

    monkeypatch.setattr(queue_module, "classify", never)
    end = End(rate)
    codec = Remembering()
    end.lane.codec = codec
    expected = end.offer(64, 1.0)
    assert len(end.flush(1.0)) == 64
    assert end.wire.left == expected
    assert end.wire.calls[0] is codec.made
    assert end.lane.waiting == 0
    assert (end.counters.tx_packets, end.counters.tx_bytes) == (64, 64_000)
    assert end.lane.deadline() == math.inf


def test_reads_of_several_calls_leave_together() -> None:
    end = End()
    expected = end.offer(2, 1.0) + end.offer(3, 1.0)
    end.flush(1.0)
    assert end.wire.left == expected


def test_a_flush_with_nothing_to_say_still_asks_the_connection() -> None:
    end = End(20_000_000)
    end.wire.extra = [bytes(40)]
    assert len(end.flush(1.0)) == 1
    assert end.wire.calls == [[]]


def test_what_the_window_does_not_take_waits_and_leaves_first() -> None:
    end = End(window=3)
    first = end.offer(10, 1.0)
    end.flush(1.0)
    assert (end.wire.left, end.lane.waiting) == (first[:3], 7)
    assert end.lane.deadline() == math.inf, "an acknowledgement opens the window, not a timer"
    end.wire.window = 4
    second = end.offer(2, 1.001)
    end.flush(1.001)
    assert end.wire.left == first[:7]
    end.wire.window = math.inf
    end.flush(1.002)
    assert end.wire.left == first + second
    assert end.counters.tx_packets == 12
    assert not end.counters.drops


def test_a_closed_window_costs_little() -> None:
    end = End(window=0)
    end.offer(4000, 1.0)
    end.flush(1.0)
    end.wire.calls.clear()
    end.flush(1.001)
    assert sum(map(len, end.wire.calls)) <= 64
    assert end.lane.waiting == 4000


@pytest.mark.parametrize("peer", [_PEER, ("2001:db8::2", 45001, 0, 0)])
def test_the_rate_counts_what_the_link_carries(peer: Address) -> None:
    end = End(10_000_000, peer=peer)
    frame = _FRAME + (20 if ":" in peer[0] else 0)
    on_the_link, now, stop = 0, 1.0, 3.0
    while now < stop:
        if end.lane.waiting < 20:
            end.offer(20, now, size=500)
        on_the_link += sum(len(data) + frame for data, _to in end.flush(now))
        now = end.lane.deadline()
        assert now < math.inf
    assert on_the_link * 8 / (stop - 1.0) == pytest.approx(0.98 * 10_000_000, rel=0.003)


def test_acknowledgements_count_as_well() -> None:
    end = End(1_000_000)
    end.wire.extra = [bytes(958)] * 125
    end.flush(1.0)
    end.offer(1, 1.0)
    end.flush(1.0)
    assert end.lane.waiting == 1
    assert end.lane.deadline() == pytest.approx(2.0, abs=0.05)


def test_critical_passes_what_waits() -> None:
    end = End(1_000_000)
    end.offer(20, 1.0)
    end.flush(1.0)
    voice = end.offer(1, 1.001, size=200, dscp=46)
    due = end.lane.deadline()
    before = len(end.wire.left)
    end.flush(due)
    assert end.wire.left[before:] == voice


def test_time_to_wait_on_a_slow_link() -> None:
    end = End(500_000)
    end.offer(10, 1.0, size=1300)
    end.flush(1.0)
    now = 1.0
    while end.lane.waiting:
        now = end.lane.deadline()
        end.flush(now)
    assert end.counters.tx_packets >= 9
    assert now > 1.0 + 3 * MAX_AGE


def test_a_path_that_shrinks_under_waiting_packets() -> None:
    end = End(1_000_000)
    refused: list[tuple[int, int]] = []
    end.lane.on_too_big = lambda payloads, limit, _now: refused.extend((len(item), limit) for item in payloads)
    end.offer(4, 1.0, size=100)
    end.offer(8, 1.0, size=1300)
    small = end.offer(1, 1.0, size=60)
    end.flush(1.0)
    assert end.counters.tx_packets < 4
    end.wire.datagram_size = 1200
    now = 1.0
    while end.lane.deadline() < math.inf:
        now = end.lane.deadline()
        end.flush(now)
    assert end.wire.left[-1:] == small
    assert end.counters.tx_packets == 5
    assert end.counters.drops == {"too_big": 8}
    assert refused == [(1301, 1170)] * 8


def test_a_dead_path_holds_a_bounded_number() -> None:
    end = End()
    for step in range(40):
        end.offer(1000, 1.0 + step / 1e6, size=60)
        end.flush(1.0 + step / 1e6)
    assert end.wire.clock.outstanding == MAX_OUTSTANDING
    assert end.lane.deadline() == math.inf


def test_reset_counts_what_it_forgets() -> None:
    end = End(64_000)
    end.offer(10, 1.0)
    end.flush(1.0)
    waiting = end.lane.waiting
    end.offer(5, 1.0)
    end.lane.reset()
    assert end.lane.waiting == 0
    assert end.counters.drops == {"no_connection": waiting + 5}
    assert end.lane.deadline() == math.inf


def _flood(end: End, start: float, seconds: float, *, loss: float) -> float:
    """Send a packet per millisecond over a path that loses some."""
    steps = round(seconds * 1000)
    for step in range(steps):
        now = start + step / 1000
        end.offer(1, now, size=970)
        end.flush(now)
        clock, sent = end.wire.clock, end.wire.clock.outstanding
        lost = sum((end.number + n) % 100 < 100 * loss for n in range(sent))
        clock.lost(lost)
        clock.acked(now, sent - lost)
    return start + seconds


def test_the_breaker_holds_the_tunnel_and_says_so_once() -> None:
    end = End()
    now = _flood(end, 1.0, 10, loss=0.1)
    assert (end.lane.limit, end.lane.changes()) == (None, [])
    now = _flood(end, now, 4.2, loss=0.5)
    limit = end.lane.limit
    assert limit is not None
    before = end.counters.tx_packets
    now = _flood(end, now, 1, loss=0.5)
    assert end.counters.tx_packets - before == pytest.approx(limit / 8 / 1043, rel=0.05)
    changes = end.lane.changes()
    assert [(change.state, change.failed) for change in changes] == [("breaker open", True)]
    assert "of the packets lost in 5 s, sending at most" in changes[0].reason
    _flood(end, now, 120, loss=0.0)
    assert end.lane.limit is None
    assert [change.state for change in end.lane.changes()] == ["breaker closed"]
    assert end.lane.waiting == 0


def test_the_breaker_watches_the_path_and_not_the_connection() -> None:
    end = End()
    now = _flood(end, 1.0, 8, loss=0.0)
    end.lane.reset()
    end.wire = Wire()
    now = _flood(end, now, 4.5, loss=0.5)
    assert end.lane.limit is not None
    end.lane.reset()
    assert end.lane.limit is not None


def test_a_rate_below_the_breakers_limit_stays() -> None:
    end = End(1_000_000)
    _flood(end, 1.0, 6, loss=0.5)
    assert end.lane.limit is not None
    assert end.lane._shaper is not None
    assert end.lane._shaper._octets * 8 < 980_000
    now = _flood(end, 7.0, 60, loss=0.0)
    assert end.lane._shaper._octets * 8 == pytest.approx(980_000)
    assert now > 0


@pytest.mark.parametrize("codec", [BareCodec(), LegacyCodec(BareCodec())])
def test_a_narrow_path_takes_no_ipv6(codec: BareCodec | LegacyCodec) -> None:
    """The test of every packet's version is made on such a path only."""
    end = End(front=codec.front)
    end.lane.codec = codec
    told: list[list[bytes]] = []
    end.lane.on_too_big = lambda payloads, _limit, _now: told.append(payloads)
    six = bytes([0x60, 0, 0, 0, 0, 8, 59, 64]) + bytes(40)
    context = bytes(codec.front)
    for narrow in (False, True):
        end.lane.narrow = narrow
        end.wire.left.clear()
        end.lane.offer([six], cast("Connection", end.wire), 1.0)
        four = end.offer(1, 1.0)[0][1:]
        end.lane.offer([six], cast("Connection", end.wire), 1.0)
        end.flush(1.0)
        expected = [four] if narrow else [six, four, six]
        assert end.wire.left == [context + packet for packet in expected]
    assert told == [[context + six]] * 2
    assert end.counters.drops == {"ipv6_narrow": 2}


# --- payloads of a tunnel over several paths --------------------------------------------------------------------------


def _numbered(count: int, *, size: int = 1000, dscp: int = 0, ipv6: bool = False) -> list[bytes]:
    """Return payloads of context 2 with IP packets of ``size`` bytes."""
    first = bytes([0x60 | dscp >> 2, (dscp & 3) << 6]) if ipv6 else bytes([0x45, dscp << 2])
    return [b"\2\0\7" + number.to_bytes(4, "big") + b"\0" + first + bytes(size - 2) for number in range(count)]


def test_payloads_that_exist_already_are_sent_and_counted_as_packets() -> None:
    end = End(front=wire.SEQUENCED_OVERHEAD)
    payloads = _numbered(5)
    end.lane.enqueue(payloads.copy(), cast("Connection", end.wire), 1.0)
    assert len(end.flush(1.0)) == 5
    assert end.wire.left == payloads
    assert (end.counters.tx_packets, end.counters.tx_bytes) == (5, 5000)
    end.lane.enqueue(payloads, None, 1.0)
    assert end.counters.drops == {"no_connection": 5}


def test_copies_that_do_not_fit_any_more_are_dropped_without_a_word() -> None:
    """Another path has them as well."""
    end = End(window=0, front=wire.SEQUENCED_OVERHEAD)
    told: list[bytes] = []
    end.lane.on_too_big = lambda payloads, _limit, _now: told.extend(payloads)
    alone, small = _numbered(1, size=1300), _numbered(1, size=100)
    copied = [payload[:1] + bytes([wire.SEQUENCED_COPY]) + payload[2:] for payload in alone]
    end.lane.enqueue(alone + copied + small, cast("Connection", end.wire), 1.0)
    end.flush(1.0)
    end.wire.datagram_size = 1200
    end.wire.window = math.inf
    end.flush(1.001)
    assert end.wire.left == small
    assert told == alone
    assert end.counters.drops == {"too_big": 2}


@pytest.mark.parametrize("ipv6", [False, True])
def test_they_wait_by_the_class_of_the_packet_inside(*, ipv6: bool) -> None:
    end = End(window=0, front=wire.SEQUENCED_OVERHEAD)
    bulk, usual, urgent = [_numbered(1, dscp=dscp, ipv6=ipv6) for dscp in (8, 0, 46)]
    end.lane.enqueue(bulk + usual + urgent, cast("Connection", end.wire), 1.0)
    end.flush(1.0)
    end.wire.window = math.inf
    end.flush(1.001)
    assert end.wire.left == urgent + usual + bulk


def test_those_that_do_not_fit_are_refused() -> None:
    end = End(front=wire.SEQUENCED_OVERHEAD)
    told: list[list[bytes]] = []
    end.lane.on_too_big = lambda payloads, _limit, _now: told.append(payloads)
    fits, too_big = [_numbered(1, size=end.wire.max_payload - 8 + more) for more in (0, 1)]
    end.lane.enqueue(fits + too_big, cast("Connection", end.wire), 1.0)
    end.flush(1.0)
    assert (end.wire.left, told) == (fits, [too_big])
    end.lane.narrow = True
    four, six = _numbered(1), _numbered(1, ipv6=True)
    end.lane.enqueue(six + four, cast("Connection", end.wire), 1.0)
    end.flush(1.0)
    assert (end.wire.left[1:], told[1:]) == (four, [six])


def test_what_is_said_leaves_first_and_is_no_packet() -> None:
    end = End(front=wire.SEQUENCED_OVERHEAD)
    packets = _numbered(3)
    end.lane.enqueue(packets.copy(), cast("Connection", end.wire), 1.0)
    end.lane.say(b"\4 older")
    end.lane.say(b"\4 newer")
    datagrams = end.flush(1.0)
    assert end.wire.left == [data[_OVERHEAD:] for data, _to in datagrams] == [b"\4 newer", *packets]
    assert end.counters.tx_packets == 3
    end.flush(1.0)
    assert len(end.wire.left) == 4


def test_what_is_said_overtakes_what_waits_and_is_paid_for() -> None:
    end = End(1_000_000, front=wire.SEQUENCED_OVERHEAD)
    end.lane.enqueue(_numbered(20), cast("Connection", end.wire), 1.0)
    end.flush(1.0)
    before, due = len(end.wire.left), end.lane.deadline()
    end.lane.say(b"\4 words")
    end.flush(1.0)
    assert end.wire.left[before:] == [b"\4 words"]
    assert end.lane.deadline() > due
    end.wire.window = 0
    end.lane.say(b"\4 more")
    end.flush(1.0)
    end.wire.window = math.inf
    end.flush(1.0)
    assert end.wire.left[before + 1 :] == [b"\4 more"]


def test_a_lost_connection_takes_along_what_was_to_be_said() -> None:
    end = End(front=wire.SEQUENCED_OVERHEAD)
    end.lane.say(b"\4")
    end.lane.reset()
    assert end.flush(1.0) == []


def test_a_rate_may_change() -> None:
    end = End(front=wire.SEQUENCED_OVERHEAD)
    for rate, waiting in ((1_000_000, 19), (None, 0), (1_000_000, 19)):
        end.lane.set_rate(rate)
        end.lane.enqueue(_numbered(20), cast("Connection", end.wire), 1.0)
        end.flush(1.0)
        assert end.lane.waiting == waiting
        end.lane.reset()


def test_a_lane_of_many_keeps_less() -> None:
    lane = Lane(Counters(), front=wire.SEQUENCED_OVERHEAD, capacity=10_000)
    wire_of = Wire(0, _PEER)
    lane.enqueue(_numbered(100), cast("Connection", wire_of), 1.0)
    lane.flush(cast("Connection", wire_of), 1.0)
    assert lane.waiting == 9
    assert lane.drops == {"queue_full": 91}
