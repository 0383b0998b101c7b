# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers behind the states of a path: when silence is too long, when loss is too much, when a probation fails."""

from __future__ import annotations

import math

import pytest
from mpquic.core.ackclock import AckClock
from mpquic.core.multipath.losses import SLOT, Losses
from mpquic.core.multipath.probation import Probation
from mpquic.core.multipath.silence import Silence, Verdict


def clock(srtt: float, deviation: float = 0.0) -> AckClock:
    made = AckClock()
    made.rtt(srtt)
    made.rttvar = deviation
    return made


def overdue(silence: Silence, start: float) -> tuple[float, int]:
    """Return after how many seconds a silence is too long, and how many pings were asked for."""
    asked, at = 0, start
    for _ in range(100):
        at = silence.deadline()
        verdict = silence.check(at)
        if verdict is Verdict.OVERDUE:
            return at - start, asked
        asked += verdict is Verdict.ASK
        assert silence.deadline() > at
    raise AssertionError


def test_round_trip_times_are_smoothed() -> None:
    """RFC 9002 section 5.3."""
    taken = AckClock()
    taken.rtt(0.1)
    assert (taken.srtt, taken.rttvar) == (0.1, 0.05)
    taken.rtt(0.18)
    assert taken.rttvar == pytest.approx(0.75 * 0.05 + 0.25 * 0.08)
    assert taken.srtt == pytest.approx(7 / 8 * 0.1 + 1 / 8 * 0.18)
    taken.rtt(0.01)
    assert taken.rttvar == pytest.approx(0.75 * 0.0575 + 0.25 * 0.1)
    assert taken.latest == 0.01


@pytest.mark.parametrize(
    ("srtt", "deviation", "limit"),
    [(0.001, 0.0, 0.1), (0.05, 0.005, 0.1), (0.06, 0.01, 0.13), (0.6, 0.01, 0.94), (0.001, 0.05, 0.226)],
)
def test_the_limit_under_load(srtt: float, deviation: float, limit: float) -> None:
    path = clock(srtt, deviation)
    silence = Silence(path)
    assert silence.deadline() == math.inf
    path.sent(10.0, 50)
    assert overdue(silence, 10.0) == (pytest.approx(limit), 0)


@pytest.mark.parametrize(("srtt", "limit"), [(0.001, 0.1), (0.05, 0.155), (0.6, 1.306875)])
def test_the_limit_without_load(srtt: float, limit: float) -> None:
    """Two pings are to back up the packet that nobody answered."""
    path = clock(srtt)
    silence = Silence(path)
    path.sent(10.0)
    original = silence.check

    def check(now: float, asking: int = 0) -> Verdict:
        verdict = original(now, asking)
        if verdict is Verdict.ASK:
            path.sent(now)
        return verdict

    silence_check = Silence.check
    try:
        Silence.check = lambda _self, now, asking=0: check(now, asking)  # type: ignore[method-assign]
        assert overdue(silence, 10.0) == (pytest.approx(limit), 2)
    finally:
        Silence.check = silence_check  # type: ignore[method-assign]


def test_mtu_probes_are_no_evidence() -> None:
    path = clock(0.001)
    silence = Silence(path)
    path.sent(10.0, 8)
    assert silence.check(10.09, 8) is Verdict.ASK
    assert silence.check(10.11, 8) is Verdict.FINE


@pytest.mark.parametrize(("share", "needed"), [(0.0, 3), (0.02, 3), (0.1, 6), (0.3, 19), (0.51, 20), (1.0, 20)])
def test_more_evidence_is_needed_where_much_is_lost_anyway(share: float, needed: int) -> None:
    silence = Silence(clock(0.05))
    silence.expect_loss(share)
    assert silence.needed == needed
    silence.expect_loss(0.0)
    assert silence.needed == 3


def test_pauses_are_remembered_for_a_minute_and_only_so_long() -> None:
    path = clock(0.05)
    silence = Silence(path)
    silence.survived(0.4, 10.0)
    path.sent(20.0, 50)
    assert overdue(silence, 20.0)[0] == pytest.approx(0.5)
    silence.survived(30.0, 21.0)
    path.acked(22.0, 1)
    assert overdue(silence, 22.0)[0] == pytest.approx(1.25)
    # What was noticed on the way counts as one more.
    path.acked(80.0, 1)
    assert overdue(silence, 80.0)[0] == pytest.approx(1.25)
    path.acked(141.0, 1)
    assert overdue(silence, 141.0)[0] == pytest.approx(0.1)


def counted(*slots: tuple[int, int]) -> Losses:
    path = clock(0.05)
    losses = Losses(path)
    for acked, lost in slots:
        path.acked_total += acked
        path.lost_total += lost
        losses.tick()
    return losses


@pytest.mark.parametrize(
    ("slots", "lossy"),
    [
        ([(47, 3)] * 4, True),
        ([(48, 2)] * 4, False),
        ([(47, 3)] * 3, False),
        ([(50, 0), (0, 50), (0, 50), (0, 50)], False),
        # A gap: what it swallowed is given up at once.
        ([(50, 0)] * 3 + [(50, 60)], False),
        # Few packets: 4 s, and 8 s.
        ([(2, 1)] * 8, True),
        ([(1, 0), (0, 1)] * 8, True),
        ([(1, 0), (1, 0), (0, 1), (1, 0)] * 4, True),
        ([(1, 0)] * 16, False),
        ([(1, 0)] * 12 + [(0, 1)] * 4, False),
        # Given up and acknowledged all the same.
        ([(40, 20), (70, -20)] * 4, False),
    ],
)
def test_steady_loss(slots: list[tuple[int, int]], lossy: bool) -> None:  # noqa: FBT001
    assert counted(*slots).persistent() is lossy


def test_loss_is_a_share() -> None:
    assert counted().share() == 0
    assert counted((90, 10)).share() == pytest.approx(0.1)
    assert counted((90, -10)).share() == 0
    # The shortest window that tells something.
    assert counted(*[(50, 50)] * 12, *[(100, 0)] * 4).share() == 0
    assert SLOT * 4 == 2


def test_clean_is_four_seconds_without_loss() -> None:
    assert counted(*[(2, 0)] * 8).clean()
    assert not counted(*[(2, 0)] * 7).clean()
    assert not counted(*[(1, 0)] * 8).clean()
    assert not counted((2, 1), *[(2, 0)] * 7).clean()
    assert counted((2, 1), *[(2, 0)] * 8).clean()
    assert counted(*[(99, 1)] * 8).clean()
    assert not counted(*[(98, 2)] * 8).clean()


def test_a_clean_window_tells_how_much_loss_would_have_shown() -> None:
    losses = counted(*[(5, 0)] * 8)
    assert losses.relieved(0.1)
    assert not losses.relieved(0.09)


@pytest.mark.parametrize(("acked", "lost", "fails"), [(40, 2, False), (37, 3, True), (60, 3, False), (0, 0, False)])
def test_a_probation(acked: int, lost: int, fails: bool) -> None:  # noqa: FBT001
    path = clock(0.05)
    probation = Probation(path, 10.0, 0.07, again=False)
    assert probation.deadline() == 10.07
    # The rest of the hole.
    path.lost_total += 100
    probation.begin()
    assert probation.deadline() == 12.0
    path.acked_total += acked
    path.lost_total += lost
    assert (probation.failed() is not None) is fails
