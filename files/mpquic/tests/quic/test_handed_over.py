# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends that hand over to other processes, in virtual time: what is on its way belongs to either."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from handed import BothHanded, Handed
from mpquic.core.multipath.policy import TrafficClass
from several import Stream, paths

if TYPE_CHECKING:
    from pathlib import Path

SPRAYED = (TrafficClass("default", "balanced", spray=True),)


@pytest.mark.parametrize("classes", [SPRAYED, (TrafficClass("default", "priority"),)])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_on_its_way_is_taken_once(tmp_path: Path, classes: tuple[TrafficClass, ...], seed: int) -> None:
    world = Handed(tmp_path, paths(0, 0, 0), classes=classes, seed=seed)
    for number, delay in ((1, 0.02), (2, 0.03), (3, 0.05)):
        world.lines[number].up.delay = world.lines[number].down.delay = delay
    world.run_until(world.all_up, 2)
    streams = [Stream(world, interval=0.002), Stream(world, down=True, interval=0.002)]
    world.run(1)
    for _time in range(2):
        world.hand_over()
        world.run_until(world.all_up, 5)
        # The connections to the giver are given up after a while, and nothing ends by that.
        giver = world.giver
        assert giver is not None
        world.run_until(lambda giver=giver: giver.deserted, 5)
    for stream in streams:
        stream.stop()
    world.run(1)
    assert [(stream.lost(), stream.twice()) for stream in streams] == [([], 0)] * 2
    assert max(stream.outage() for stream in streams) < 0.1
    assert world.client.state == "up"


def test_a_lost_request_is_repeated(tmp_path: Path) -> None:
    world = Handed(tmp_path, paths(0, 10))
    world.run_until(world.all_up, 2)
    world.hand_over()
    for line in world.lines.values():
        line.cut()
    world.run(0.3)
    for line in world.lines.values():
        line.mend()
    world.run_until(world.all_up, 10)
    assert world.client.state == "up"


#: Seconds that each path takes up and down, when the server's other process has the socket after the client's began to
#: connect, and when it asks for connections. What the client's answers are from, in their order:
ORDERS = {
    # the new server on wan2, then the old one, which was asked first, on wan1
    "the old server's answer is late": ({1: (0.01, 0.2), 2: (0.05, 0.01)}, 0.02, 0.0),
    # the old server on wan1, then the new one on wan2
    "the old server's answer is early": ({1: (0.01, 0.01), 2: (0.05, 0.05)}, 0.03, 0.0),
    # the same, and much is on its way from the old one when the new one is known
    "the old server has not asked yet": ({1: (0.01, 0.04), 2: (0.03, 0.01)}, 0.02, 1.0),
    "both answer anew": ({1: (0.02, 0.02), 2: (0.02, 0.02)}, 0.0, 0.0),
    "the old server answers both": ({1: (0.02, 0.02), 2: (0.02, 0.02)}, 0.2, 0.0),
    "the handshake is half over": ({1: (0.02, 0.02), 2: (0.03, 0.03)}, 0.05, 0.0),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("classes", [SPRAYED, (TrafficClass("default", "priority"),)])
def test_both_ends_at_once(tmp_path: Path, order: str, classes: tuple[TrafficClass, ...]) -> None:
    delays, taken_at, asks_after = ORDERS[order]
    world = BothHanded(tmp_path, paths(0, 0), classes=classes)
    for number, (up, down) in delays.items():
        world.lines[number].up.delay, world.lines[number].down.delay = up, down
    world.run_until(world.all_up, 2)
    streams = [Stream(world), Stream(world, down=True)]
    world.run(0.5)
    world.call(taken_at, lambda: world.hand_over(asks_after=asks_after))
    world.hand_over_client()
    world.run(5)
    world.leave()
    world.run(1)
    for stream in streams:
        stream.stop()
    world.run(1)
    assert [(stream.lost(), stream.twice()) for stream in streams] == [([], 0)] * 2
    assert world.all_up()


def test_a_handshake_between_two_processes_loses_no_time(tmp_path: Path) -> None:
    world = Handed(tmp_path, paths(0))
    # The giver has answered; what comes then reaches the heir, and begins with an Initial.
    world.run(0.03)
    world.hand_over()
    assert world.run_until(lambda: world.client.state == "up", 1) < 0.1
    assert world.server is not None
    assert "malformed" not in world.server.totals().drops


def test_an_heir_that_is_given_up_takes_no_path_along(tmp_path: Path) -> None:
    world = Handed(tmp_path, paths(0, 0))
    world.run_until(world.all_up, 2)
    giver, epoch = world.server, world.leg(1).epoch
    world.hand_over()
    world.run_until(world.all_up, 5)
    assert {leg.epoch for leg in world.client.legs} != {epoch}
    # The giver serves again, as it is.
    world.server, world.giver, world.strays = giver, None, None
    assert world.run_until(lambda: {leg.epoch for leg in world.client.legs} == {epoch}, 5) < 4
    world.run_until(world.all_up, 20)
