# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.stats import least_share, percentile, slope

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1)


def test_percentile_is_the_nearest_rank():
    values = list(range(1, 101))
    assert percentile(values, 99) == 99
    assert percentile(values, 50) == 50
    assert percentile(list(reversed(values)), 100) == 100
    assert percentile([7.0], 99) == 7.0


@given(NUMBERS, st.floats(0, 100))
def test_percentile_covers_its_share_and_no_more_than_needed(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values) - 1e-9
    assert sum(value < found for value in values) <= max(0.0, share / 100 * len(values))


def test_percentile_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_slope_finds_the_rise_of_a_line():
    assert slope([(hour, 40 + 2.5 * hour) for hour in (0.0, 0.5, 1.0)]) == pytest.approx(2.5)
    assert slope([(0, 5.0), (1, 5.0)]) == 0


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_slope_does_not_depend_on_the_level(rise, level):
    points = [(x, level + rise * x + (0.1 if x % 2 else -0.1)) for x in range(20)]
    assert slope(points) == pytest.approx(slope([(x, y - level) for x, y in points]), abs=1e-6)


def test_slope_of_one_moment_is_an_error():
    with pytest.raises(ValueError, match="two times"):
        slope([(1, 2), (1, 3)])


def test_least_share():
    assert least_share([100, 80, 90]) == 0.8
    assert least_share([5]) == 1
    assert least_share([0, 0]) == 0
