# SPDX-License-Identifier: GPL-3.0-or-later
"""The trials that matter most, with real daemons, short, with room for a busy machine; all of them: ``make trials``."""

from __future__ import annotations

import os

import pytest

from tests.trials import blackhole, faults, sharing

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

#: Seconds: with all tests at once a daemon may wait for a core longer than the wires let it.
_LONGEST_OUTAGE = 1.0


def test_a_dead_first_path_does_not_keep_the_tunnel_down(tmp_path):
    found = faults.dead_start(tmp_path)
    assert not found.missed, found


@pytest.mark.slow
@pytest.mark.parametrize("ways", ["up", "down", "both"])
def test_a_silent_black_hole_hurts_for_a_moment_and_returning_does_not(tmp_path, ways):
    found = blackhole.trial(tmp_path, ways, rtt=20, loaded=False, trials=1)
    assert found.values["max_ms"] < 1000 * _LONGEST_OUTAGE, found
    for key in ("twice_lost", "return_lost", "return_reordered", "doubled"):
        assert found.values[key] == 0, found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["another address", "unplugged and back", "carrier off and on"])
def test_connections_survive_what_happens_to_a_wan(tmp_path, name):
    found = faults.trial(tmp_path, name)
    assert not found.missed, found
    assert found.values["longest_gap_ms"] < 1000 * _LONGEST_OUTAGE, found


@pytest.mark.slow
def test_connections_survive_the_end_of_either_daemon(tmp_path):
    found = faults.restarts(tmp_path)
    assert not found.missed, found


@pytest.mark.slow
def test_weights_share_what_many_flows_send(tmp_path):
    found = sharing.shares(tmp_path, "weights", "priority", (3, 2, 1), flows=200)
    # Fewer flows follow the weights less well: in their order, and none left out.
    promises = [promise for promise in found.missed if "within" not in promise]
    assert not promises, found
    assert found.values["up3"] > 0.05, found


@pytest.mark.slow
def test_two_copies_cross_two_lossy_wans_once(tmp_path):
    found = sharing.copies(tmp_path, seconds=10)
    assert found.values["doubled"] == 0, found
    assert found.values["twice_lost_percent"] < 3 < 5 < found.values["once_lost_percent"], found


@pytest.mark.slow
def test_sixteen_paths(tmp_path):
    found = faults.sixteen(tmp_path)
    assert not found.missed, found
