# SPDX-License-Identifier: GPL-3.0-or-later
"""What one peer may send: never more than its rate and one burst, and no less than that when it asks."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.budget import BURST, Bucket, Budget

if TYPE_CHECKING:
    from mpquic.core.types import Arrival

PEER = ("192.0.2.1", 1)
#: Seconds, so that sums of them are exact.
TICK = 1 / 1024
ticks = st.integers(0, 2048)


def arrival(count: int, size: int = 1000, last: int | None = None) -> Arrival:
    """Return so many datagrams of one size in one buffer; the last one may be shorter."""
    return bytes(size * (count - 1) + (size if last is None else last)), size, PEER


def test_a_bucket_starts_full_and_fills_at_its_rate() -> None:
    bucket = Bucket(10.0, 5.0)
    assert [bucket.take(100.0) for _ in range(6)] == [True] * 5 + [False]
    assert not bucket.take(100.0625)
    assert bucket.take(100.125)
    assert not bucket.take(100.125)
    assert bucket.level(1000.0) == 5.0


def test_what_was_overdrawn_is_paid_back() -> None:
    bucket = Bucket(10.0, 5.0)
    assert bucket.level(0.0) == 5.0
    bucket.spend(25.0)
    assert bucket.level(1.0) == -10.0
    assert not bucket.take(2.0)
    assert bucket.take(2.125)


def test_a_clock_that_stands_or_goes_back_fills_nothing() -> None:
    bucket = Bucket(10.0, 5.0)
    assert bucket.take(10.0, 5.0)
    assert [bucket.level(now) for now in (10.0, 9.0, 0.0, 10.0)] == [0.0] * 4


@given(
    st.integers(1, 1000),
    st.integers(1, 100),
    st.lists(st.tuples(ticks, st.integers(1, 5)), max_size=30),
)
def test_a_bucket_never_gives_more_than_rate_and_depth(rate: int, depth: int, asked: list[tuple[int, int]]) -> None:
    bucket = Bucket(rate, depth)
    taken: list[tuple[float, int]] = []
    now = 0
    for later, tokens in asked:
        now += later
        refused = not bucket.take(now * TICK, tokens)
        if not refused:
            taken.append((now * TICK, tokens))
        for number, (since, _tokens) in enumerate(taken):
            assert sum(tokens for _at, tokens in taken[number:]) <= depth + rate * (now * TICK - since)
        if refused:
            # There is a moment since which so much was taken that no room is left.
            bounds = [(now * TICK, []), *((since, taken[number:]) for number, (since, _tokens) in enumerate(taken))]
            assert any(
                sum(found for _at, found in given) + tokens > depth + rate * (now * TICK - since)
                for since, given in bounds
            )


def test_no_budget_looks_at_nothing() -> None:
    arrivals = [arrival(3), arrival(1)]
    admitted, refused = Budget(packets=None, rate=None).admit(arrivals, 1.0)
    assert admitted is arrivals
    assert refused == 0


@pytest.mark.parametrize(
    ("data", "count"), [(arrival(1), 1), (arrival(4), 4), (arrival(4, last=1), 4), ((b"", 0, PEER), 1)]
)
def test_datagrams_are_counted_as_they_were_sent(data: Arrival, count: int) -> None:
    budget = Budget(packets=4, rate=None)
    assert budget.admit([data], 0.0) == ([data], 0)
    assert budget.admit([data, data], 0.0) == ([], 2 * count)


def test_packets_per_second() -> None:
    budget = Budget(packets=1000, rate=None)
    admitted, refused = budget.admit([arrival(1)] * 300, 0.0)
    assert (len(admitted), refused) == (1000 * BURST, 50)
    passed = sum(len(budget.admit([arrival(1)] * 3, 0.5 + step * TICK)[0]) for step in range(10 * 1024))
    assert passed == pytest.approx(1000 * BURST + 10 * 1000, abs=2)


def test_bits_per_second() -> None:
    budget = Budget(packets=None, rate=8_000_000)
    passed = sum(len(budget.admit([arrival(1)] * 3, step * TICK)[0]) for step in range(10 * 1024))
    assert passed == pytest.approx(1000 * BURST + 10 * 1000, abs=2)


def test_one_packet_a_second_is_one_packet_a_second() -> None:
    budget = Budget(packets=1, rate=None)
    assert [len(budget.admit([arrival(1)], step / 4)[0]) for step in range(12)] == [1, 0, 0, 0] * 3


def test_a_whole_buffer_is_let_in_and_paid_for_later() -> None:
    budget = Budget(packets=100, rate=None)
    assert budget.admit([arrival(64), arrival(1)], 0.0) == ([arrival(64)], 1)
    # 25 were saved up, so 39 are owed, and one more is needed.
    assert budget.admit([arrival(1)], 0.39)[1] == 1
    assert budget.admit([arrival(1)], 0.41)[1] == 0


@given(
    st.one_of(st.none(), st.integers(1, 5000)),
    st.one_of(st.none(), st.integers(32_000, 20_000_000)),
    st.lists(st.tuples(ticks, st.lists(st.tuples(st.integers(1, 64), st.integers(1, 1400)), max_size=6)), max_size=20),
)
def test_a_budget_is_two_buckets(
    packets: int | None, rate: int | None, batches: list[tuple[int, list[tuple[int, int]]]]
) -> None:
    budget = Budget(packets=packets, rate=rate)
    limits = [Fraction(packets or 0), Fraction(rate or 0)]
    depths = [max(Fraction(1), limits[0] / 4), limits[1] / 4]
    levels = list(depths)
    now = 0
    for later, sizes in batches:
        now += later
        levels = [
            min(depth, level + limit * later / 1024) for depth, level, limit in zip(depths, levels, limits, strict=True)
        ]
        arrivals = [arrival(count, size) for count, size in sizes]
        admitted, refused = budget.admit(arrivals, now * TICK)
        expected, over = [], 0
        for (count, size), data in zip(sizes, arrivals, strict=True):
            if (packets is not None and levels[0] < 1) or (rate is not None and levels[1] <= 0):
                over += count
                continue
            levels[0] -= count
            levels[1] -= 8 * count * size
            expected.append(data)
        assert (list(admitted), refused) == (expected, over)
