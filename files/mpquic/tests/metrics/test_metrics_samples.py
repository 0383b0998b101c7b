# SPDX-License-Identifier: GPL-3.0-or-later
"""What a path sums up over its connections."""

from __future__ import annotations

import pytest
from mpquic.core.ackclock import AckClock
from mpquic.core.samples import RTT_BOUNDS, RoundTrips, Samples
from mpquic.core.state import Outage


@pytest.mark.parametrize("place", range(len(RTT_BOUNDS) + 1))
def test_a_sample_is_in_the_class_of_the_first_bound_above_it(place: int) -> None:
    rtts = RoundTrips()
    bound = RTT_BOUNDS[place] if place < len(RTT_BOUNDS) else 60.0
    rtts.note(bound * 0.99)
    assert rtts.counts.index(1) == place
    assert rtts.total == pytest.approx(bound * 0.99)


def test_sums_outlive_connections() -> None:
    samples, first, second = Samples(), AckClock(), AckClock()
    first.acked(1.0, 5)
    first.rtt(0.5)
    samples.follow(first)
    # What was before is of the handshake.
    assert (samples.acknowledged, samples.judged, sum(samples.rtts.counts)) == (0, 0, 0)
    first.acked(2.0, 8)
    first.lost(2)
    first.rtt(0.01)
    samples.follow(second)
    second.acked(3.0, 1)
    second.rtt(0.02)
    # Of a connection that is gone nothing counts any more.
    first.acked(3.0, 100)
    first.rtt(0.02)
    assert (samples.acknowledged, samples.judged, sum(samples.rtts.counts)) == (9, 11, 2)
    samples.follow(first)
    first.acked(4.0, 1)
    assert (samples.acknowledged, samples.judged) == (10, 12)


def test_no_sum_ever_shrinks_when_the_lost_are_found() -> None:
    samples, clock = Samples(), AckClock()
    samples.follow(clock)
    clock.acked(1.0, 5)
    clock.lost(3)
    before = samples.acknowledged, samples.judged
    clock.found(2)
    assert before == (5, 8)
    assert (samples.acknowledged, samples.judged) == (7, 8)


def test_outages() -> None:
    outage = Outage(10.0)
    assert outage.seconds(12.0) == 2.0
    outage.note(13.0, up=True)
    outage.note(14.0, up=True)
    assert (outage.seconds(20.0), outage.falls) == (3.0, 0)
    outage.note(20.0, up=False)
    outage.note(21.0, up=False)
    assert (outage.seconds(22.0), outage.falls) == (5.0, 1)
