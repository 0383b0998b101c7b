# SPDX-License-Identifier: GPL-3.0-or-later
"""How long payloads wait, by what is known of the paths."""

from __future__ import annotations

import pytest
from bundles import CLIENT, Link, Net, policy, spec
from mpquic.core.multipath.patience import LEAST, MOST, MOST_SPRAYED, Patience


def patience(*times: float | None) -> Patience:
    """Return what is known of paths with these round trip times (seconds)."""
    net = Net(policy(*[spec(number) for number in range(1, len(times) + 1)]), dict.fromkeys(range(1, 9), Link()))
    for number, time in enumerate(times, 1):
        net.connect(number)
        net.paths[CLIENT][number].connection.clock.srtt = time
    found = Patience(net.ends[CLIENT].paths)
    found.sprayed = frozenset({1})
    return found


def test_as_long_as_the_paths_differ() -> None:
    assert patience(0.01, 0.06, 0.03).hold(0, 1.0) == pytest.approx(1.25 * 0.05)
    assert patience(0.01, 0.045).hold(1, 1.0) == pytest.approx(1.25 * 0.035)


def test_within_bounds() -> None:
    assert patience(0.01, 0.01).hold(0, 1.0) == LEAST
    assert patience(0.01, 0.01).hold(1, 1.0) == LEAST
    assert patience(0.01, 0.6).hold(0, 1.0) == MOST
    assert patience(0.01, 0.6).hold(1, 1.0) == MOST_SPRAYED
    assert patience(None, 0.04).hold(0, 1.0) == pytest.approx(0.05), "not measured yet"


def test_not_at_all_with_one_path() -> None:
    assert patience(0.01).hold(0, 1.0) == 0.0
    assert patience().hold(0, 1.0) == 0.0


def test_paths_that_are_gone_do_not_count() -> None:
    net = Net(policy(spec(1), spec(2)), {1: Link(), 2: Link(delay=(0.05, 0.05))})
    found = Patience(net.ends[CLIENT].paths)
    assert found.hold(0, 1.0) == 0.0
    net.connect()
    assert found.hold(0, 1.01) == 0.0, "looked at lately"
    assert found.hold(0, 1.06) == pytest.approx(0.1)
    net.disconnect(2)
    found.look(1.07)
    assert (found.hold(0, 1.07), found.paths) == (0.0, 1)
