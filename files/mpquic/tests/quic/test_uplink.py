# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client does when its host's links come and go, in virtual time."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from mpquic.quic.link import Link
from mpquic.quic.private import send_state
from simulation import World, packet

if TYPE_CHECKING:
    from pathlib import Path


def _up(world: World) -> bool:
    return world.client.state == "up"


def _peer_id(world: World) -> bytes:
    """Return the connection id under which the client sends."""
    link = world.client.connection
    assert isinstance(link, Link)
    return send_state(link._connection).cid


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


def test_a_client_that_moves_is_followed_within_a_round_trip(tmp_path: Path) -> None:
    """Only the server sends, more than it may send to an address that is not proved unless the client asks loudly."""
    world = World(tmp_path)
    world.run_until(lambda: _up(world), 1)
    world.run(1)
    session, sent, ids = world.client.session, 0, {_peer_id(world)}
    strays: list[float] = []
    world.on_stray = lambda _data, _to: strays.append(world.now)
    moved = world.now + 0.5
    for step in range(1000):
        if world.now < moved <= world.now + 0.001:
            world.client.socket_lost("another address", world.now, moving=True)
            world.client.link_changed(world.now)
        world.from_server(packet(step, 600))
        sent += 1
        world.run(0.001)
    world.run(0.5)
    rtt = world.up.delay + world.down.delay
    arrived = [at for at, _data in world.at_client]
    gap = max(after - before for before, after in itertools.pairwise(arrived))
    assert (world.client.session, world.client.connects) == (session, 1)
    # Nobody on the way can tell by the id that it is the same client (RFC 9000 section 9.5).
    ids.add(_peer_id(world))
    assert len(ids) == 2
    # What was on its way to the old address, and nothing else; no longer than it takes to be heard.
    assert strays
    assert max(strays) < moved + rtt + 0.005
    assert len(arrived) >= sent - len(strays)
    assert gap < rtt + 0.005


def test_packets_wait_a_moment_for_an_address(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run_until(lambda: _up(world), 1)
    world.run(1)
    session = world.client.session
    world.no_socket = "no address"
    world.client.socket_lost("no address", world.now, moving=False)
    world.from_client(packet(1))
    world.run(0.05)
    assert (world.client.state, world.at_server) == ("up", [])
    world.no_socket = None
    world.client.link_changed(world.now)
    world.run(0.1)
    assert [data for _at, data in world.at_server] == [packet(1)]
    assert (world.client.state, world.client.session) == ("up", session)


def test_an_address_that_does_not_come_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run_until(lambda: _up(world), 1)
    world.no_socket = "no address"
    world.client.socket_lost("no address", world.now, moving=False)
    assert world.run_until(lambda: not _up(world), 1) <= 0.11
    assert world.client.reason == "no address"
    # Nobody waits for ever: both ends have forgotten it by then.
    world.run(30)
    world.no_socket = None
    assert world.run_until(lambda: _up(world), 4) < 3
    assert world.client.connects == 2


def test_a_connection_that_the_server_forgot_is_made_anew(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run_until(lambda: _up(world), 1)
    world.no_socket = "no carrier"
    world.client.socket_failed("no carrier", world.now)
    world.start_server()
    world.run(1)
    world.no_socket = None
    world.client.link_changed(world.now)
    assert world.run_until(lambda: _up(world), 3) < 1
    assert world.client.connects == 2
