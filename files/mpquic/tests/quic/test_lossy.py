# SPDX-License-Identifier: GPL-3.0-or-later
"""Links that lose, reorder and overflow, in virtual time: what a tunnel adds to them, and what a rate is good for.

Most of it on 20 Mbit/s with a round trip of 50 ms and a buffer of 40 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mpquic.core.queue import CAPACITY, MAX_AGE
from simulation import World
from traffic import Flow, carry, connect, link

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

LINK = 20_000_000
VOICE = Flow(64_000, size=200, dscp=46)
BULK, LE = Flow(1.5 * LINK, dscp=8), Flow(1.5 * LINK, dscp=1)
DEFAULT = Flow(1.5 * LINK)
ALGORITHMS = ["tunnel", "cubic", "reno"]


def world_of(folder: Path, rate: int | None = None, *, algorithm: str = "tunnel") -> World:
    world = World(folder, rate=rate, algorithm=algorithm)
    link(world, LINK)
    connect(world)
    return world


def lose(world: World, share: float) -> None:
    world.up.loss = world.down.loss = share


@pytest.mark.parametrize("percent", [0.1, 1.0, 2.0])
def test_loss_costs_what_is_lost_and_no_time(tmp_path: Path, percent: float) -> None:
    world = world_of(tmp_path)
    lose(world, percent / 100)
    (flow,) = carry(world, 5, Flow(LINK / 2))
    assert flow.delivered >= 100 - percent - 0.5
    assert flow.at(0.99) <= 10
    assert not world.drops()


@pytest.mark.parametrize(("load", "down"), [(BULK, False), (LE, True), (DEFAULT, False), (DEFAULT, True)])
def test_with_a_rate_what_is_critical_does_not_wait(tmp_path: Path, load: Flow, *, down: bool) -> None:
    world = world_of(tmp_path, LINK)
    heavy, voice = carry(world, 3, load, VOICE, down=down)
    assert voice.delivered == 100
    assert voice.at(0.99) <= 10
    assert heavy.at(0.99) <= 50
    # The link is used: 1300 of 1375 bytes in a frame, and a little of it for others.
    assert heavy.delivered * 1.5 >= 100 * 0.98 * 1300 / 1375 - 1.5
    assert world.wire["full"] == 0


def test_with_a_rate_all_classes_share(tmp_path: Path) -> None:
    world = world_of(tmp_path, LINK)
    bulk, default, voice = carry(world, 2, BULK, DEFAULT, VOICE)
    assert voice.delivered == 100
    assert voice.at(0.99) <= 10
    for flow in (bulk, default):
        assert flow.at(0.99) <= 50
    assert len(default.delays) / len(bulk.delays) == pytest.approx(4, rel=0.05)


def test_too_much_of_what_is_critical_starves_nobody(tmp_path: Path) -> None:
    world = world_of(tmp_path, LINK)
    critical, default = carry(world, 6, Flow(1.5 * LINK, dscp=46), DEFAULT)
    assert default.delivered * 1.5 > 20
    assert critical.delivered * 1.5 > 65
    # It is late while its queue begins to stand, and then no more.
    assert critical.at(0.95) <= 10
    assert default.at(0.99) <= 50


def test_below_its_rate_nothing_waits(tmp_path: Path) -> None:
    world = world_of(tmp_path, LINK)
    (flow,) = carry(world, 2, Flow(0.9 * LINK))
    assert flow.delivered == 100
    assert flow.at(0.99) <= 5
    assert not world.drops()


@pytest.mark.parametrize("down", [False, True])
def test_what_waits_for_the_rate_leaves_when_it_is_due(tmp_path: Path, *, down: bool) -> None:
    """Nothing else happens meanwhile that would look at the queue."""
    world = world_of(tmp_path, 5_000_000)
    send, arrived = (world.from_server, world.at_client) if down else (world.from_client, world.at_server)
    start = world.now
    send(*[DEFAULT.packet(number) for number in range(10)])
    world.run(0.5)
    times = [at - start - 0.025 for at, _packet in arrived]
    assert len(times) == 10
    # The link itself is four times as fast.
    assert times[-1] == pytest.approx(10 * 1373 * 8 / 4_900_000, abs=0.006)


def test_a_slow_link_with_a_rate(tmp_path: Path) -> None:
    world = World(tmp_path, rate=500_000)
    link(world, 500_000)
    connect(world)
    bulk, voice = carry(world, 20, Flow(1_000_000, dscp=8), VOICE)
    assert voice.delivered == 100
    # A full packet takes 22 ms and one is always under way; the packet itself takes 4 ms.
    assert voice.at(0.99) <= 30
    assert bulk.at(0.99) <= 260
    assert len(bulk.delays) * 1300 * 8 / 20 > 0.65 * 500_000


def test_overload_without_a_rate_is_the_links_affair(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    heavy, voice = carry(world, 2, DEFAULT, VOICE)
    assert world.wire["full"] > 0
    assert voice.delivered < 100
    assert heavy.at(0.99) <= 50
    assert not world.drops()
    assert world.client._lane.waiting == 0


@pytest.mark.parametrize("rate", [None, LINK])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_waits_does_so_with_us_and_not_for_long(tmp_path: Path, algorithm: str, rate: int | None) -> None:
    """The World sees after every call that nothing is left inside aioquic."""
    world = world_of(tmp_path, rate, algorithm=algorithm)
    lose(world, 0.01)
    for way in (world.up, world.down):
        way.jitter, way.duplicate = 0.008, 0.05
    lane = world.client._lane
    most = 0

    def look() -> None:
        nonlocal most
        most = max(most, lane.waiting)

    world.every(0.001, look)
    flows = carry(world, 1.5, BULK, DEFAULT, VOICE)
    assert (most > 0) is (algorithm != "tunnel" or rate is not None)
    assert most < CAPACITY
    # Waiting here, in the link's buffer, and jitter.
    for flow in flows:
        assert flow.at(1) <= 1000 * (MAX_AGE + 0.04 + 0.008) + 1
    assert flows[2].delivered > 90 or (algorithm == "tunnel" and rate is None)
    assert world.client.state == "up"
    assert lane.waiting == 0


@pytest.mark.parametrize("jitter", [0.005, 0.02, 0.04])
def test_reordering_is_no_loss(tmp_path: Path, jitter: float) -> None:
    world = world_of(tmp_path)
    world.up.jitter = jitter
    (flow,) = carry(world, 8, Flow(LINK / 2))
    assert flow.delivered == 100
    assert world.client.limit is None
    assert world.client.connection is not None
    assert world.client.connection.clock.lost_total < 20


def test_a_flooded_path_is_relieved(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    carry(world, 7, Flow(2 * LINK), VOICE)
    assert [text.partition(":")[0] for text in world.states("client")][-1] == "breaker open"
    assert (world.client.limit or LINK) < LINK
    world.wire.clear()
    heavy, voice = carry(world, 3, Flow(2 * LINK), VOICE)
    assert world.wire["full"] == 0
    assert voice.delivered == 100
    assert voice.at(0.99) <= 10
    assert heavy.delivered > 10
    # The server has sent little and has lost nothing.
    assert world.server is not None
    assert world.server.limit is None


def test_the_breaker_closes_when_the_flood_is_over(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    carry(world, 7, Flow(2 * LINK))
    assert world.client.limit is not None
    (flow,) = carry(world, 12, Flow(1_000_000))
    assert world.client.limit is None
    assert flow.delivered == 100
    texts = [text.partition(":")[0] for text in world.states("client")]
    assert texts.count("breaker open") == texts.count("breaker closed") == 1
    assert world.client.state == "up"


def test_a_radio_that_loses_a_quarter_still_carries_calls(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    lose(world, 0.25)
    carry(world, 30, Flow(2_000_000), VOICE)
    assert world.client.limit is not None
    (voice,) = carry(world, 5, VOICE)
    assert voice.delivered > 65
    assert voice.at(0.99) <= 25
