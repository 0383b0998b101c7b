# SPDX-License-Identifier: GPL-3.0-or-later
"""How long payloads wait, by what is known of the paths."""

from __future__ import annotations

import pytest
from bundles import CLIENT, Link, Net, policy, spec
from mpquic.core.multipath.patience import MOST, MOST_SPRAYED, Patience
from mpquic.core.multipath.policy import Policy, TrafficClass
from mpquic.core.queue import MAX_AGE

_MOVED, _SPRAYED, _NARROW = range(3)
_CLASSES = [
    TrafficClass("default", "priority"),
    TrafficClass("bulk", "balanced", spray=True),
    TrafficClass("narrow", "balanced", spray=True, excluded=(3,)),
]


def _policy(count: int) -> Policy:
    return policy(*[spec(number) for number in range(1, count + 1)], classes=_CLASSES)


def patience(*times: float | None) -> Patience:
    """Return what is known of paths with these round trip times (seconds)."""
    wanted = _policy(len(times))
    net = Net(wanted, dict.fromkeys(range(1, len(times) + 1), Link()))
    for number, time in enumerate(times, 1):
        net.connect(number)
        net.paths[CLIENT][number].connection.clock.srtt = time
    found = Patience(net.ends[CLIENT].paths)
    found.configure(wanted)
    return found


def test_as_long_as_the_paths_differ_and_queues_last() -> None:
    assert patience(0.01, 0.06, 0.03).hold(_MOVED, 1.0) == (3, pytest.approx(1.25 * 0.05 + MAX_AGE))
    assert patience(0.01, 0.01).hold(_MOVED, 1.0) == (2, MAX_AGE)
    assert patience(0.01, 0.014).hold(_SPRAYED, 1.0) == (2, pytest.approx(0.045))
    assert patience(None, 0.04).hold(_MOVED, 1.0) == (2, pytest.approx(0.05 + MAX_AGE)), "not measured yet"


def test_within_bounds() -> None:
    assert patience(0.01, 0.6).hold(_MOVED, 1.0) == (2, MOST)
    assert patience(0.01, 0.6).hold(15, 1.0) == (2, MOST), "a class that this end does not know"
    assert patience(0.01, 0.6).hold(_SPRAYED, 1.0) == (2, MOST_SPRAYED)


def test_a_class_waits_only_for_its_paths() -> None:
    assert patience(0.01, 0.012, 0.6).hold(_NARROW, 1.0) == (2, pytest.approx(0.0025 + MAX_AGE))


def test_not_at_all_with_one_path() -> None:
    assert patience(0.01).hold(_MOVED, 1.0) == (1, 0.0)
    assert patience().hold(_MOVED, 1.0) == (0, 0.0)
    found = patience(0.01, 0.02)
    found.configure(policy(spec(1), spec(2), classes=[TrafficClass("default", "priority", excluded=(2,))]))
    assert found.hold(0, 1.0) == (1, 0.0)


def test_paths_that_are_gone_do_not_count() -> None:
    net = Net(_policy(2), {1: Link(), 2: Link(delay=(0.05, 0.05))})
    found = Patience(net.ends[CLIENT].paths)
    assert found.hold(0, 1.0) == (0, 0.0)
    net.connect()
    assert found.hold(0, 1.01) == (0, 0.0), "looked at lately"
    assert found.hold(0, 1.06) == (2, pytest.approx(0.1 + MAX_AGE))
    net.disconnect(2)
    found.look(1.07)
    assert (found.hold(0, 1.07), found.paths) == ((1, 0.0), 1)
