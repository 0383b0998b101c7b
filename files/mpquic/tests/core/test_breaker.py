# SPDX-License-Identifier: GPL-3.0-or-later
"""The circuit breaker, fed with totals once a second or so."""

from __future__ import annotations

import pytest
from mpquic.core.breaker import ENOUGH, FLOOR, GROWTH, WINDOW, Breaker

#: Bits per second and packets per second that are sent.
_SENT, _PACKETS = 8_000_000, 1000


class Path:
    """Feeds a breaker with a path's totals."""

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.now = 50.0
        self.acked = self.lost = self.octets = 0

    def run(self, seconds: int, loss: float, packets: float = _PACKETS, sent: float = _SENT) -> list[float | None]:
        """Return the limit after every second."""
        limits = []
        for _ in range(seconds):
            self.now += 1.0
            self.lost += round(packets * loss)
            self.acked += round(packets * (1 - loss))
            self.octets += round(sent / 8)
            self.breaker.check(self.now, self.acked, self.lost, self.octets)
            limits.append(self.breaker.limit)
        return limits


def test_closed_while_loss_is_bearable() -> None:
    assert set(Path().run(300, 0.19)) == {None}


def test_opens_after_five_seconds_of_heavy_loss() -> None:
    path = Path()
    path.run(20, 0.0)
    limits = path.run(6, 0.5)
    assert limits[:2] == [None, None]
    assert limits[4] == pytest.approx(_SENT * (1 - path.breaker.loss) / 2, rel=0.3)
    assert path.breaker.loss > 0.2


def test_a_second_of_loss_is_no_flood() -> None:
    path = Path()
    path.run(20, 0.0)
    path.run(2, 0.9)
    assert set(path.run(20, 0.0)) == {None}


def test_a_burst_into_a_small_buffer_is_no_flood() -> None:
    path = Path()
    for _ in range(20):
        path.run(1, 0.4)
        path.now += WINDOW - 1
        assert path.breaker.limit is None


def test_few_packets_prove_nothing() -> None:
    assert set(Path().run(60, 1.0, packets=(ENOUGH - 1) / (WINDOW + 1))) == {None}


def test_halves_to_its_floor_while_the_loss_stays() -> None:
    path = Path()
    steps = list(dict.fromkeys(path.run(120, 0.5)))
    assert steps[0] is None
    assert steps[1] == pytest.approx(_SENT * 0.5 / 2)
    assert steps[2] == pytest.approx(_SENT * 0.5 / 4)
    assert steps[-1] == FLOOR
    assert None not in steps[1:]


def test_grows_when_the_loss_is_gone_and_closes_when_nothing_presses() -> None:
    path = Path()
    path.run(6, 0.5)
    limit = path.breaker.limit
    assert limit is not None
    assert path.run(5, 0.15)[-1] == limit
    grown = path.run(11, 0.0, sent=limit)
    assert limit * GROWTH <= (grown[-1] or 0) <= limit * GROWTH**3
    assert path.run(12, 0.0, sent=limit / 4)[-1] is None


def test_an_idle_path_closes() -> None:
    path = Path()
    path.run(7, 0.5)
    assert path.breaker.limit is not None
    for _ in range(4):
        path.now += WINDOW
        path.breaker.check(path.now, path.acked, path.lost, path.octets)
    assert path.breaker.limit is None


def test_another_connection_counts_from_nothing() -> None:
    path = Path()
    path.run(10, 0.1)
    path.acked = path.lost = 0
    path.breaker.restart()
    assert path.run(5, 0.5)[-1] is not None


def test_late_packets_are_not_lost() -> None:
    path = Path()
    path.run(3, 0.4)
    path.lost -= 1000
    path.acked += 1000
    assert set(path.run(20, 0.0)) == {None}


def test_a_pause_is_no_evidence() -> None:
    path = Path()
    path.run(2, 0.9)
    path.now += 600
    assert set(path.run(3, 0.0)) == {None}
