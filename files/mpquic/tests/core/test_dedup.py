# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers that pass once: the cases of WireGuard's self-test (counter.c) told for 32 bits, and against a plain set.

There the farthest number behind the largest that may still be new is COUNTER_WINDOW_SIZE away, here SIZE - 1. There
numbers end, here they wrap: so each case is told from several starts, one of them just before the wrap.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpquic.core.multipath.dedup import SIZE, Dedup
from mpquic.core.multipath.sequence import BUCKETS, NUMBERS

#: How far behind the largest number one may come, and the first distance that is too far.
REACH = SIZE - 1
TOO_FAR = SIZE
HALF = NUMBERS // 2


class Window:
    """One bucket; numbers count from ``start``."""

    def __init__(self, start: int, bucket: int = 9) -> None:
        self.dedup, self.start, self.bucket = Dedup(), start, bucket

    def passes(self, number: int) -> bool:
        new = self.dedup.note(self.bucket, (self.start + number) % NUMBERS, 1)
        assert new in (None, [], [range(1)])
        return new != []


@pytest.fixture(params=[0, 1, HALF - 20, NUMBERS - 5, NUMBERS - SIZE, NUMBERS - 2 * SIZE])
def window(request: pytest.FixtureRequest) -> Window:
    return Window(request.param)


def test_the_wire_s_usual_disorder(window: Window) -> None:
    assert [window.passes(number) for number in (0, 1, 1)] == [True, True, False]
    # A gap, filled from above.
    assert [window.passes(number) for number in (9, 8, 7, 7)] == [True, True, True, False]
    assert (window.dedup.duplicate, window.dedup.stale) == (2, 0)


def test_a_leap_as_far_as_the_window_reaches(window: Window) -> None:
    for number in (0, 1, 7, 8, 9):
        assert window.passes(number)
    assert window.passes(TOO_FAR)
    # Behind it there is still room for what has not come, down to the other end.
    assert [window.passes(TOO_FAR - back) for back in (1, 1, 2)] == [True, False, True]
    assert [window.passes(2), window.passes(2)] == [True, False]
    # A little further, and what was within reach is not.
    assert window.passes(TOO_FAR + 16)
    assert not window.passes(3)
    assert not window.passes(TOO_FAR + 16)
    assert window.dedup.stale == 1


def test_a_leap_over_more_than_the_window(window: Window) -> None:
    for number in (0, TOO_FAR, TOO_FAR + 16):
        assert window.passes(number)
    top = 4 * TOO_FAR
    assert window.passes(top)
    assert window.passes(top - REACH)
    assert not window.passes(10)
    assert not window.passes(top - TOO_FAR)
    assert not window.passes(top - TOO_FAR - 1)
    assert window.passes(top - REACH + 1)
    assert not window.passes(top - REACH)
    assert not window.passes(0)
    assert (window.dedup.duplicate, window.dedup.stale) == (1, 4)


def test_half_of_the_numbers_are_ahead_and_half_behind(window: Window) -> None:
    assert window.passes(0)
    assert not window.passes(HALF + 1)
    assert not window.passes(-TOO_FAR)
    assert window.dedup.stale == 2
    # As far as a leap may be.
    assert window.passes(HALF)
    assert window.passes(HALF - 1)
    assert not window.passes(1)
    assert window.dedup.stale == 3


def test_the_very_first_number_comes_last(window: Window) -> None:
    assert all(window.passes(number) for number in range(1, REACH + 1))
    assert window.passes(0)
    assert not window.passes(-1)


def test_a_window_that_arrives_backwards(window: Window) -> None:
    assert all(window.passes(number) for number in range(REACH, -1, -1))
    assert not window.passes(0)
    assert not window.passes(-1)
    assert window.passes(REACH + 1)
    assert not window.passes(0)


def test_backwards_and_one_step_on(window: Window) -> None:
    assert all(window.passes(number) for number in range(REACH, 0, -1))
    assert window.passes(REACH + 1)
    assert not window.passes(0)


def test_the_first_number_of_all_is_0() -> None:
    window = Window(0)
    assert [window.passes(number) for number in (0, -1, 3, 2, 1)] == [True, False, True, True, True]


def test_any_number_may_be_the_first() -> None:
    """The other end may number for long when this one begins."""
    for first in (HALF - 1, HALF, HALF + 1, NUMBERS - 1):
        window = Window(first)
        assert window.passes(0)
        assert not window.passes(0)
        assert window.passes(-1)
        assert window.passes(1)


def test_buckets_do_not_touch_each_other() -> None:
    dedup = Dedup()
    assert all(dedup.note(bucket, 5, 3) is None for bucket in range(BUCKETS))
    assert all(dedup.note(bucket, 5, 3) == [] for bucket in range(BUCKETS))


def test_runs(window: Window) -> None:
    dedup, start = window.dedup, window.start

    def note(first: int, count: int) -> list[range] | None:
        return dedup.note(window.bucket, (start + first) % NUMBERS, count)

    assert note(0, 10) is None
    assert note(20, 10) is None
    assert note(12, 5) is None, "late, and all of it is new"
    assert note(8, 14) == [range(2, 4), range(9, 12)]
    assert note(0, 30) == []
    assert note(25, 10) == [range(5, 10)]
    assert note(0, 35) == []
    # More than the window.
    assert note(100, 2 * SIZE) is None
    assert note(100 + SIZE - 10, 20) == []
    assert (dedup.stale, dedup.duplicate) == (10, 9 + 30 + 5 + 35 + 10)


def test_memory_is_bounded() -> None:
    dedup = Dedup()
    for number in range(0, 40 * SIZE, 7):
        assert dedup.note(3, number, 3) is None
        assert dedup._missing[3].bit_length() <= SIZE
    assert dedup.note(3, 10, 1) == []
    assert dedup.note(3, 50 * SIZE, 2 * SIZE) is None
    assert dedup._missing[3] == 0


class Model:
    """What was received, and nothing forgotten."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def passes(self, number: int) -> bool:
        if self.seen and number <= max(self.seen) - SIZE:
            return False
        if number in self.seen:
            return False
        self.seen.add(number)
        return True


_STEPS = st.one_of(st.integers(-40, 40), st.integers(-SIZE - 3, SIZE + 3), st.sampled_from([-SIZE, SIZE, 1 - SIZE]))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([2 * SIZE, HALF - 100, NUMBERS - 100]),
    st.lists(st.tuples(_STEPS, st.integers(1, 60)), min_size=1, max_size=30),
)
def test_it_is_a_set_of_numbers(start: int, steps: list[tuple[int, int]]) -> None:
    dedup, model = Dedup(), Model()
    # Unwrapped, from far enough up that nothing is negative.
    at = start + 4 * NUMBERS
    for step, count in steps:
        at += step
        new = dedup.note(0, at % NUMBERS, count)
        found = [new is None or any(offset in part for part in new) for offset in range(count)]
        assert found == [model.passes(at + offset) for offset in range(count)]
        at = max(model.seen)
