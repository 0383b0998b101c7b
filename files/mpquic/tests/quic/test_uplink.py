# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client does when its host's links come and go, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation import World, packet

if TYPE_CHECKING:
    from pathlib import Path


def _up(world: World) -> bool:
    return world.client.state == "up"


def test_a_link_that_goes_is_told_at_once_and_the_connection_waits(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run_until(lambda: _up(world), 1)
    first = world.client.session
    world.no_socket = "no carrier"
    world.client.socket_failed("no carrier", world.now)
    world.run(1)
    assert (world.client.state, world.client.reason) == ("waiting", "no carrier")
    # There was no way to say so.
    assert "client closed" not in " ".join(world.states("server"))
    world.no_socket = None
    assert world.run_until(lambda: _up(world), 3) < 2.2
    assert world.client.session == first
    assert world.client.connects == 1
    world.from_client(packet(1))
    world.run(0.1)
    assert [data for _at, data in world.at_server] == [packet(1)]


def test_a_link_that_comes_ends_the_wait(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.up.cut = True
    # By then it waits up to half a minute.
    world.run(60)
    world.run_until(lambda: world.client.state == "waiting" and world.client.deadline() - world.now > 1, 60)
    world.up.cut = False
    world.client.link_changed(world.now)
    assert world.run_until(lambda: _up(world), 1) < 0.2


def test_a_change_of_links_is_a_reason_to_look(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run_until(lambda: _up(world), 1)
    world.run(0.5)
    world.up.cut = world.down.cut = True
    world.client.link_changed(world.now)
    assert world.run_until(lambda: not _up(world), 8) < 2.5
