# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths that fail, in virtual time: how long nothing arrives, and what it costs to come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mpquic.core.multipath.policy import TrafficClass
from several import Several, Stream, paths

if TYPE_CHECKING:
    from pathlib import Path

DIRECTIONS = {"up": (True, False), "down": (False, True), "both": (True, True)}


def _world(folder: Path, rtt: float, *, copies: int = 1) -> Several:
    world = Several(folder, paths(0, 10), classes=(TrafficClass("default", "priority", copies=copies),), rtt=rtt)
    world.run_until(world.all_up, 3)
    return world


def _pair(world: Several) -> tuple[Stream, Stream]:
    return Stream(world), Stream(world, down=True)


@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "loaded"])
@pytest.mark.parametrize("direction", list(DIRECTIONS))
@pytest.mark.parametrize("rtt", [0.001, 0.05])
def test_a_black_hole_is_left_within_300_ms(tmp_path: Path, rtt: float, direction: str, *, loaded: bool) -> None:
    world = _world(tmp_path, rtt)
    if loaded:
        load = [Stream(world, port=6000, size=1200, interval=0.006, down=down) for down in (False, True)]
    streams = _pair(world)
    world.run(0.5)
    up, down = DIRECTIONS[direction]
    world.lines[1].cut(up=up, down=down)
    world.run(0.8)
    assert [round(stream.outage(), 3) for stream in streams if stream.outage() > 0.3] == []
    assert [stream.twice() for stream in streams] == [0, 0]
    assert world.state(1) != "up"
    if loaded:
        assert max(stream.outage() for stream in load) <= 0.3


def test_a_hole_in_a_path_without_traffic_is_found(tmp_path: Path) -> None:
    world = _world(tmp_path, 0.02)
    world.run(15)
    world.lines[2].cut()
    assert world.run_until(lambda: world.state(2) != "up", 2) < 1.3
    world.lines[1].cut()
    world.lines[2].mend()
    assert world.run_until(lambda: world.state(1) != "up", 2) < 1.3


@pytest.mark.parametrize("direction", list(DIRECTIONS))
def test_a_duplicated_class_loses_nothing(tmp_path: Path, direction: str) -> None:
    world = _world(tmp_path, 0.02, copies=2)
    streams = _pair(world)
    world.run(0.3)
    up, down = DIRECTIONS[direction]
    world.lines[1].cut(up=up, down=down)
    world.run(2)
    for stream in streams:
        stream.stop()
    world.run(0.1)
    assert [(stream.lost(), stream.twice(), stream.disorder()) for stream in streams] == [([], 0, 0)] * 2


def test_copies_make_up_for_loss(tmp_path: Path) -> None:
    world = _world(tmp_path, 0.02, copies=2)
    for line in world.lines.values():
        line.up.loss = line.down.loss = 0.1
    streams = [Stream(world, down=down, interval=0.002) for down in (False, True)]
    world.run(2)
    for stream in streams:
        stream.stop()
    world.run(0.1)
    assert [round(len(stream.lost()) / len(stream.sent), 4) for stream in streams if len(stream.lost()) > 15] == []
    assert [stream.twice() for stream in streams] == [0, 0]


@pytest.mark.parametrize("seconds", [0.6, 2.5], ids=["suspect", "reconnected"])
@pytest.mark.parametrize("slow", [1, 2])
def test_the_return_to_a_better_path_costs_nothing(tmp_path: Path, seconds: float, slow: int) -> None:
    world = _world(tmp_path, 0.01)
    line = world.lines[slow]
    line.up.delay = line.down.delay = 0.04
    streams = _pair(world)
    world.run(1)
    world.lines[1].cut()
    world.run(seconds)
    assert world.state(1) in {"suspect", "down"}
    # A path that was slow to fail is not to blame for what follows.
    world.run(0.2)
    before = [len(stream.sent) for stream in streams]
    world.lines[1].mend()
    world.run_until(world.all_up, 10)
    carried = world.leg(1).path.counters.tx_packets
    world.run(0.6)
    assert world.leg(1).path.counters.tx_packets - carried > 40
    for stream in streams:
        stream.stop()
    world.run(0.2)
    for stream, start in zip(streams, before, strict=True):
        assert [number for number in stream.lost() if number >= start] == []
        highest = -1
        for _at, number in stream.came():
            if number >= start:
                assert number > highest, "reordered, or twice"
                highest = number


def test_a_burst_of_loss_moves_flows_once(tmp_path: Path) -> None:
    world = _world(tmp_path, 0.03)
    streams = [Stream(world, down=down, interval=0.02) for down in (False, True)]
    world.run(1)
    for way in (world.lines[1].up, world.lines[1].down):
        way.loss = 0.3
    world.run(10)
    for way in (world.lines[1].up, world.lines[1].down):
        way.loss = 0.0
    assert world.run_until(world.all_up, 10) < 10
    assert world.server is not None
    ends = world.leg(1).path, world.server.sessions["client1"].paths[1]
    assert [path.health.switches for path in ends if path.health is not None and path.health.switches > 1] == []
    assert max(stream.outage() for stream in streams) < 0.5


def test_flapping_paths_are_back_within_ten_seconds(tmp_path: Path) -> None:
    world = _world(tmp_path, 0.03)
    streams = [Stream(world, down=down, interval=0.1) for down in (False, True)]
    for _flap in range(15):
        world.lines[1].cut()
        world.run(2)
        world.lines[1].mend()
        world.run(2)
    assert world.run_until(world.all_up, 10) <= 10
    assert world.client.state == "up"
    assert world.states("client")[0].startswith("up") or "up: connected" in world.states("client")
    assert max(stream.outage() for stream in streams) < 0.5


def test_two_paths_that_fail_in_turn_carry_together(tmp_path: Path) -> None:
    world = _world(tmp_path, 0.04)
    streams = _pair(world)
    for flap in range(10):
        world.lines[1 + flap % 2].cut()
        world.lines[2 - flap % 2].mend()
        world.run(2)
    for stream in streams:
        stream.stop()
    world.run(0.1)
    assert [round(stream.outage(), 3) for stream in streams if stream.outage() > 0.3] == []
    assert [len(stream.lost()) for stream in streams if len(stream.lost()) > 0.1 * len(stream.sent)] == []
    assert [stream.twice() for stream in streams] == [0, 0]


@pytest.mark.parametrize("direction", list(DIRECTIONS))
def test_a_connection_that_was_silent_answers_at_once(tmp_path: Path, direction: str) -> None:
    world = _world(tmp_path, 0.04)
    session, connects = world.leg(1).session, world.client.connects
    up, down = DIRECTIONS[direction]
    world.lines[1].cut(up=up, down=down)
    world.run(18)
    # The client calls it down as soon as ever.
    assert (world.state(1), world.leg(1).path.connection) == ("down", None)
    world.lines[1].mend()
    assert world.run_until(lambda: world.state(1) == "probation", 1) < 0.3
    assert (world.leg(1).session, world.client.connects) == (session, connects)
    assert world.run_until(world.all_up, 10) < 10


def test_a_silent_connection_is_given_up_in_the_end(tmp_path: Path) -> None:
    world = _world(tmp_path, 0.04)
    session = world.leg(1).session
    world.lines[1].cut()
    world.run(23)
    assert world.server is not None
    health = world.server.sessions["client1"].paths[1].health
    assert health is not None
    assert health.state.value == "down"
    world.lines[1].mend()
    assert world.run_until(world.all_up, 10) < 10
    assert world.leg(1).session != session


def test_a_new_connection_beside_a_silent_one_wins_if_the_server_is_another(tmp_path: Path) -> None:
    world = _world(tmp_path, 0.04)
    world.server = None
    for line in world.lines.values():
        # No word of a closed port comes back.
        line.down.cut = True
    world.run(4)
    assert world.client.state != "up"
    world.start_server()
    for line in world.lines.values():
        line.mend()
    assert world.run_until(lambda: world.client.state == "up", 5) < 5
    assert world.run_until(world.all_up, 10) < 10
    streams = _pair(world)
    world.run(2)
    assert [stream.outage() > 0.015 for stream in streams] == [False, False]


def test_a_silent_connection_does_not_escape_a_renewal(tmp_path: Path) -> None:
    world = _world(tmp_path, 0.04)
    sessions = {leg.session for leg in world.client.legs}
    world.lines[2].cut()
    world.run(1)
    # The second path's turn comes when it is silent.
    world.lines[1].cut()
    world.client.renew(world.endpoint.connect, world.now, redial=True)
    world.run(2)
    for line in world.lines.values():
        line.mend()
    assert world.run_until(world.all_up, 10) < 10
    assert not sessions & {leg.session for leg in world.client.legs}
