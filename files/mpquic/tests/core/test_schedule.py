# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is due when, against a dictionary that is searched from end to end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.schedule import Schedule


class Model:
    """Does the same, slowly."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def put(self, item: str, when: float) -> None:
        if when < self.times.get(item, math.inf):
            self.times[item] = when

    def discard(self, item: str) -> None:
        self.times.pop(item, None)

    def due(self, now: float) -> list[str]:
        found = sorted((when, item) for item, when in self.times.items() if when <= now)
        for _when, item in found:
            del self.times[item]
        return [item for _when, item in found]

    def next(self) -> float:
        return min(self.times.values(), default=math.inf)


times = st.one_of(st.integers(0, 9).map(float), st.just(math.inf))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), times),
        st.tuples(st.just("put"), st.sampled_from("abc"), times),
        st.tuples(st.just("discard"), st.sampled_from("abc")),
        st.tuples(st.just("due"), st.integers(0, 9).map(float)),
        st.tuples(st.just("next")),
    ),
    max_size=60,
)


@given(steps)
def test_it_does_what_a_dictionary_would(steps: list[tuple[str, ...]]) -> None:
    schedule: Schedule[str] = Schedule()
    model = Model()
    for name, *arguments in steps:
        found, expected = (getattr(one, name)(*arguments) for one in (schedule, model))
        if name == "due":
            # Those of one instant come in any order, each once.
            assert sorted(found) == sorted(expected)
        else:
            assert found == expected
    assert schedule.next() == model.next()


def test_items_come_in_the_order_of_their_times() -> None:
    schedule: Schedule[object] = Schedule()
    items = [object() for _ in range(5)]
    for item, when in zip(items, [3.0, 1.0, 2.0, 2.0, 5.0], strict=True):
        schedule.put(item, when)
    assert schedule.next() == 1.0
    assert schedule.due(0.999) == []
    assert schedule.due(3.0) == [items[1], items[2], items[3], items[0]]
    assert schedule.next() == 5.0


def test_a_later_time_waits_for_the_earlier_one() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("a", 1.0)
    schedule.put("a", 9.0)
    assert schedule.due(1.0) == ["a"]
    assert schedule.due(100.0) == []
    schedule.put("a", 9.0)
    assert schedule.due(9.0) == ["a"]


def test_what_was_put_anew_is_due_at_its_new_time() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.put("a", 1.0)
    schedule.discard("a")
    schedule.put("a", 3.0)
    schedule.put("b", 2.0)
    assert schedule.due(2.0) == ["b"]
    assert schedule.next() == 3.0
    assert schedule.due(3.0) == ["a"]


@pytest.mark.parametrize("pattern", ["discarded", "earlier and earlier", "now and then"])
def test_what_is_no_longer_due_fills_no_memory(pattern: str) -> None:
    schedule: Schedule[str] = Schedule()
    for step in range(20_000):
        far = 1e6 + step
        if pattern == "discarded":
            schedule.put("a", far)
            schedule.discard("a")
        elif pattern == "earlier and earlier":
            schedule.put("a", 1e6 - step)
        else:
            # An idle timeout far away, and a timer that comes soon, again and again.
            schedule.put("a", far)
            schedule.put("a", step + 0.5)
            assert schedule.due(step + 0.5) == ["a"]
    assert len(schedule._heap) < 200
