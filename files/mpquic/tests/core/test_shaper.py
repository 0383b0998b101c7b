# SPDX-License-Identifier: GPL-3.0-or-later
"""The token bucket: exact in the long run, small in its bursts, honest about when it opens."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpquic.core.shaper import BURST, Shaper

_FULL = 1500


@settings(max_examples=100, deadline=None)
@given(
    rate=st.sampled_from([32e3, 500e3, 19.6e6, 1e9, 98e9]),
    sizes=st.lists(st.integers(60, _FULL), min_size=1, max_size=50),
    waits=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_never_more_than_the_rate_and_a_burst(rate: float, sizes: list[int], waits: list[float]) -> None:
    """Whoever sends as soon as it may gets the rate over any span, and a burst and one packet on top."""
    shaper, start = Shaper(rate), 1000.0
    burst = BURST * rate / 8
    now, sent = start, 0
    for step in range(300):
        size = sizes[step % len(sizes)]
        if shaper.allowance(now) <= 0:
            now = shaper.due()
        assert shaper.allowance(now) > 0
        shaper.spend(size, now)
        sent += size
        assert sent <= (now - start) * rate / 8 * (1 + 1e-6) + burst + _FULL + 20  # of rounding
    # And no less: what has not been sent by now could not be.
    if now > start:
        assert sent >= (now - start) * rate / 8 * (1 - 1e-6)
    for wait in waits:
        idle = now + wait
        assert shaper.allowance(idle) <= burst + 2


def test_a_late_caller_loses_nothing_within_the_burst() -> None:
    rate, now, sent = 8e6, 10.0, 0.0
    shaper = Shaper(rate)
    shaper.spend(shaper.allowance(now), now)
    for _ in range(1000):
        now += 0.0015
        allowance = shaper.allowance(now)
        shaper.spend(allowance, now)
        sent += allowance
    assert sent == pytest.approx(1000 * 0.0015 * rate / 8, rel=0.002)


@given(st.floats(32e3, 1e11), st.floats(0, 1e7), st.floats(1, 1e6))
def test_at_the_time_it_names_it_is_open(rate: float, now: float, octets: float) -> None:
    shaper = Shaper(rate)
    shaper.spend(octets, now)
    due = shaper.due()
    assert shaper.allowance(due) >= 1
    assert (shaper.allowance(now) > 0) is (due <= now)


def test_overdraft_is_paid_back() -> None:
    shaper = Shaper(8e6)
    shaper.spend(1_000_000, 100.0)
    assert shaper.allowance(100.9) == 0
    assert shaper.due() == pytest.approx(101.0 - BURST)
