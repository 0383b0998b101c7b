# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of numbers as ranges do what sets do."""

from __future__ import annotations

from itertools import pairwise

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.ranges import common, covers, united
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.integers(0, 30)
RANGES = st.lists(st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair))), max_size=6)


def numbers(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(RANGES)
def test_united(ranges):
    found = united(ranges)
    assert numbers(found) == numbers(ranges)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))


@given(RANGES, RANGES)
def test_common(a, b):
    found = common(united(a), united(b))
    assert numbers(found) == numbers(a) & numbers(b)
    assert found == united(found)


@given(RANGES, RANGES)
def test_covers(a, b):
    assert covers(united(a), united(b)) == (numbers(b) <= numbers(a))
