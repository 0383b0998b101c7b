# SPDX-License-Identifier: GPL-3.0-or-later
"""Where packets wait: classes, their order, their bounds, and what is dropped."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpquic.core.aging import INTERVAL, TARGET, CoDel, Cut
from mpquic.core.classes import BULK, CRITICAL, DEFAULT, classify
from mpquic.core.queue import CAPACITY, CAPACITY_OCTETS, CRITICAL_SHARE, MAX_AGE, PacketQueue

EF, LE = 46, 1
MARKS = {CRITICAL: EF, DEFAULT: 0, BULK: LE}


def payload(number: int = 0, size: int = 100, dscp: int = 0, *, ipv6: bool = False, context: int = 0) -> bytes:
    """Return a DATAGRAM payload of ``size`` bytes of IP packet."""
    head = (6 << 12 | dscp << 6).to_bytes(2, "big") if ipv6 else bytes([0x45, dscp << 2])
    return bytes([context]) + head + number.to_bytes(4, "big") + bytes(size - 6)


def taken(queue: PacketQueue, now: float, *, limit: int = 1 << 20, octets: float = 1e12) -> list[bytes]:
    return [data for _since, data in queue.take(limit, octets, 0, now)]


@pytest.mark.parametrize("context", [0, 6])
@pytest.mark.parametrize("ipv6", [False, True])
def test_class_follows_the_dscp(*, ipv6: bool, context: int) -> None:
    for dscp in range(64):
        critical = dscp in {32, 34, 36, 38, 40, 44, 46, 48, 56}
        expected = CRITICAL if critical else BULK if dscp in {1, 8} else DEFAULT
        assert classify(payload(dscp=dscp, ipv6=ipv6, context=context)) == expected


def test_ecn_is_no_part_of_the_class() -> None:
    for ecn in range(4):
        assert classify(bytes([0, 0x45, EF << 2 | ecn]) + bytes(30)) == CRITICAL


def test_critical_first_and_each_class_in_order() -> None:
    queue = PacketQueue(Counter())
    mixed = [payload(n, dscp=dscp) for n, dscp in enumerate([LE, 0, EF, 0, LE, EF])]
    queue.push(mixed, 0.0)
    assert len(queue) == 6
    assert taken(queue, 0.0) == [mixed[n] for n in (2, 5, 1, 3, 0, 4)]
    assert taken(queue, 0.0) == []


def _shares(queue: PacketQueue, sizes: dict[int, int], *, octets: float = 3000, rounds: int = 400) -> dict[int, float]:
    """Return the share of bytes each class gets while all of ``sizes`` always wait."""
    got: Counter[int] = Counter()
    numbers = itertools.count()
    for _ in range(rounds):
        for index, size in sizes.items():
            missing = 60_000 // size - len(queue._classes[index].items)
            queue.push([payload(next(numbers), size, MARKS[index]) for _ in range(missing)], 0.0)
        for data in taken(queue, 0.0, octets=octets):
            got[classify(data)] += len(data)
    return {index: got[index] / got.total() for index in sizes}


@pytest.mark.parametrize("octets", [1, 3000, 40_000])
@pytest.mark.parametrize("sizes", [{DEFAULT: 1300, BULK: 1300}, {DEFAULT: 60, BULK: 1400}, {DEFAULT: 8900, BULK: 100}])
def test_default_and_bulk_share_by_bytes(sizes: dict[int, int], octets: int) -> None:
    shares = _shares(PacketQueue(Counter()), sizes, octets=octets, rounds=4000 if octets == 1 else 400)
    assert shares[DEFAULT] == pytest.approx(0.8, abs=0.02)


def test_who_has_asked_for_little_has_saved_nothing() -> None:
    queue = PacketQueue(Counter())
    for number in range(200):
        queue.push([payload(number, 1300) for _ in range(10)], 0.0)
        queue.push([payload(number, 60, LE)], 0.0)
        taken(queue, 0.0)
    shares = _shares(queue, {DEFAULT: 1300, BULK: 1300}, rounds=20)
    assert shares[BULK] == pytest.approx(0.2, abs=0.05)


def test_critical_cannot_starve_the_others() -> None:
    shares = _shares(PacketQueue(Counter()), {CRITICAL: 1300, DEFAULT: 1300, BULK: 1300})
    assert shares[CRITICAL] == pytest.approx(CRITICAL_SHARE / (CRITICAL_SHARE + 1), abs=0.02)
    assert shares[BULK] == pytest.approx(0.05, abs=0.02)


def test_critical_alone_gets_everything_and_owes_nothing() -> None:
    queue = PacketQueue(Counter())
    queue.push([payload(n, 1300, EF) for n in range(1000)], 0.0)
    assert len(taken(queue, 0.0)) == 1000
    queue.push([payload(dscp=0), payload(dscp=EF)], 0.0)
    assert classify(taken(queue, 0.0, limit=1)[0]) == CRITICAL


def test_what_begins_within_the_allowance_is_taken() -> None:
    queue = PacketQueue(Counter())
    queue.push([payload(n, 999) for n in range(5)], 0.0)
    assert [data for _since, data in queue.take(9, 2001, 50, 0.0)] == [payload(0, 999), payload(1, 999)]
    assert taken(queue, 0.0, octets=0) == []
    assert taken(queue, 0.0, limit=0) == []
    assert len(taken(queue, 0.0, octets=1)) == 1


def test_what_is_put_back_comes_first_again() -> None:
    queue = PacketQueue(Counter())
    all_of_them = [payload(n, dscp=MARKS[n % 3]) for n in range(30)]
    queue.push(all_of_them, 0.0)
    first = queue.take(15, 1e9, 0, 0.01)
    queue.put_back(first[5:])
    assert len(queue) == 25
    rest = queue.take(99, 1e9, 0, 0.01)
    everything = first[:5] + rest
    assert sorted(data for _since, data in everything) == sorted(all_of_them)
    assert {since for since, _data in everything} == {0.0}
    for index in MARKS:
        numbers = [data for _since, data in everything if classify(data) == index]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("dscp", MARKS.values())
def test_every_class_is_bounded_in_packets_and_bytes(dscp: int) -> None:
    drops: Counter[str] = Counter()
    queue = PacketQueue(drops)
    queue.push([payload(n, 60, dscp) for n in range(CAPACITY + 7)], 0.0)
    assert len(queue) == CAPACITY
    assert drops == {"queue_full": 7}
    assert queue.clear() == CAPACITY
    queue.push([payload(n, 9000, dscp) for n in range(1000)], 0.0)
    assert len(queue) == CAPACITY_OCTETS // 9001
    assert taken(queue, 0.0)[-1] == payload(999, 9000, dscp)


def test_a_full_class_leaves_the_others_alone() -> None:
    queue = PacketQueue(Counter(), capacity=2)
    queue.push([payload(dscp=EF), *[payload(n) for n in range(9)], payload(dscp=LE)], 0.0)
    assert taken(queue, 0.0) == [payload(dscp=EF), payload(7), payload(8), payload(dscp=LE)]


@pytest.mark.parametrize("dscp", MARKS.values())
def test_nothing_leaves_that_is_too_old(dscp: int) -> None:
    drops: Counter[str] = Counter()
    queue = PacketQueue(drops)
    queue.push([payload(1, dscp=dscp)], 0.0)
    queue.push([payload(2, dscp=dscp)], 0.01)
    assert taken(queue, MAX_AGE + 0.001) == [payload(2, dscp=dscp)]
    assert drops == {"queue_age": 1}
    assert queue.clear() == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_is_lost_twice_or_forgotten(data: st.DataObject) -> None:
    drops: Counter[str] = Counter()
    queue = PacketQueue(drops, capacity=20, octets=15_000)
    numbers, now, out = itertools.count(), 0.0, []
    pushed: dict[bytes, float] = {}
    for _ in range(data.draw(st.integers(1, 25))):
        now += data.draw(st.sampled_from([0.0, 0.001, 0.01, 0.05]))
        if data.draw(st.booleans()):
            marks = data.draw(st.lists(st.sampled_from([EF, 0, LE]), max_size=30))
            batch = [payload(next(numbers), data.draw(st.sampled_from([60, 1400])), mark) for mark in marks]
            pushed |= dict.fromkeys(batch, now)
            queue.push(batch, now)
        else:
            items = queue.take(data.draw(st.integers(0, 30)), data.draw(st.integers(0, 20_000)), 30, now)
            kept = data.draw(st.integers(0, len(items)))
            queue.put_back(items[kept:])
            out += items[:kept]
            assert all(now - since <= MAX_AGE for since, _packet in items)
        for fifo in queue._classes.values():
            assert fifo.octets == sum(len(packet) for _since, packet in fifo.items) <= 15_000
    assert len({packet for _since, packet in out}) == len(out)
    assert all(pushed[packet] == since for since, packet in out)
    assert len(pushed) == len(out) + len(queue) + drops.total()


# --- the rules of aging --------------------------------------------------------------------------------------------

_MANY = 100_000


def test_codel_lets_a_burst_pass() -> None:
    rule = CoDel()
    assert not any(rule.drops(2 * TARGET, _MANY, step / 1000) for step in range(int(INTERVAL * 1000)))
    assert not rule.drops(TARGET / 2, _MANY, INTERVAL)
    assert not any(rule.drops(2 * TARGET, _MANY, INTERVAL + step / 1000) for step in range(int(INTERVAL * 1000)))


def test_codel_drops_faster_and_faster_while_the_queue_stands() -> None:
    rule = CoDel()
    drops = [step / 1000 for step in range(2000) if rule.drops(2 * TARGET, _MANY, step / 1000)]
    gaps = [round(b - a, 3) for a, b in itertools.pairwise(drops)]
    assert drops[0] == pytest.approx(INTERVAL, abs=0.002)
    # RFC 8289 section 5.3: the interval divided by the square root of the number of drops.
    assert gaps[:4] == pytest.approx([0.1, 0.071, 0.058, 0.05], abs=0.0021)
    assert gaps == sorted(gaps, reverse=True) or max(b - a for a, b in itertools.pairwise(gaps)) <= 0.0011


def test_codel_remembers_how_fast_it_had_to_drop() -> None:
    def first_gap(pause: float) -> float:
        rule = CoDel()
        for step in range(2000):
            rule.drops(2 * TARGET, _MANY, step / 1000)
        rule.drops(0.0, _MANY, 2.0)
        start = 2.0 + pause
        drops = [at for step in range(2000) if rule.drops(2 * TARGET, _MANY, at := start + step / 1000)]
        return drops[1] - drops[0]

    assert first_gap(0.01) < 0.03
    assert first_gap(10.0) == pytest.approx(INTERVAL, abs=0.002)


@pytest.mark.parametrize("rule", [CoDel(), Cut()])
def test_the_last_packet_is_never_dropped(rule: CoDel | Cut) -> None:
    assert not any(rule.drops(10 * TARGET, 1400, step / 100) for step in range(100))


def test_cut_lets_a_burst_pass_and_drains_what_stands() -> None:
    rule = Cut()
    before = [rule.drops(2 * TARGET, _MANY, step / 1000) for step in range(int(INTERVAL * 1000) - 1)]
    assert not any(before)
    assert rule.drops(2 * TARGET, _MANY, INTERVAL)
    assert not rule.drops(TARGET / 2, _MANY, INTERVAL + 0.01)
    assert rule.drops(2 * TARGET, _MANY, INTERVAL + 0.02)
    assert not rule.drops(2 * TARGET, 0, INTERVAL + 0.03)
    assert not rule.drops(2 * TARGET, _MANY, INTERVAL + 0.04)


def test_cut_forgets_a_burst_that_passed() -> None:
    rule = Cut()
    for start in (0.0, 0.2, 0.4):
        assert not any(rule.drops(2 * TARGET, _MANY, start + step / 1000) for step in range(90))
        assert not rule.drops(TARGET / 2, _MANY, start + 0.095)
