# SPDX-License-Identifier: GPL-3.0-or-later
"""Path MTU in virtual time: the handshake's ladder, the search afterwards, paths that shrink and grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mpquic.core.attempts import ALONE
from mpquic.core.pmtu import BASE, between
from simulation import World, packet

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes around an inner packet: IPv4 20, UDP 8, QUIC 30, context 1.
AROUND = 59
CEILING = 1441


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, mtu=CEILING)


def both_up(world: World) -> bool:
    return world.client.state == "up" and world.server is not None and world.server.state == "up"


def sizes(world: World) -> tuple[int | None, int | None]:
    """Return the inner MTU of both ends."""
    assert world.server is not None
    return world.client.mtu, world.server.mtu


def narrow(world: World, up: int, down: int | None = None) -> None:
    world.up.mtu, world.down.mtu = up, up if down is None else down


@pytest.mark.parametrize("mtu", [1500, 1492, 1420, 1400, 1339, 1320, 1281, 1280, 1250, 1228])
def test_every_path_is_found(world: World, mtu: int) -> None:
    narrow(world, mtu)
    assert world.run_until(lambda: both_up(world), 3) < 1.6
    assert world.client.connects == 1
    inner = mtu - AROUND
    took = world.run_until(lambda: sizes(world) == (inner, inner), 3)
    assert took < 1.5
    session = world.client.session
    world.run(30)
    assert sizes(world) == (inner, inner)
    assert world.client.session == session
    world.from_client(packet(1, inner), packet(2, inner + 1))
    world.from_server(packet(3, inner))
    world.run(0.1)
    assert [data for _, data in world.at_server] == [packet(1, inner)]
    assert [data for _, data in world.at_client] == [packet(3, inner)]


@pytest.mark.parametrize("algorithm", ["cubic", "reno"])
def test_every_congestion_controller_finds_and_follows_the_path(tmp_path: Path, algorithm: str) -> None:
    world = World(tmp_path, mtu=CEILING, algorithm=algorithm)
    narrow(world, 1420)
    world.run_until(lambda: both_up(world), 3)
    world.run_until(lambda: sizes(world) == (1420 - AROUND, 1420 - AROUND), 3)
    session = world.client.session
    world.every(0.01, lambda: world.from_client(packet(1, world.client.mtu or 576)))
    world.run(1)
    narrow(world, 1300)
    before = len(world.at_server)
    assert world.run_until(lambda: len(world.at_server) > before + 5, 3) < 2
    assert world.client.mtu == 1300 - AROUND
    assert world.client.session == session


@pytest.mark.parametrize(("up", "down"), [(1500, 1280), (1280, 1500), (1420, 1492)])
def test_directions_may_differ(world: World, up: int, down: int) -> None:
    narrow(world, up, down)
    assert world.run_until(lambda: both_up(world), 5) < 3
    world.run_until(lambda: sizes(world) == (up - AROUND, down - AROUND), 12)


def test_a_full_path_costs_no_probe(world: World) -> None:
    assert world.run_until(lambda: both_up(world), 1) < 0.1
    assert sizes(world) == (CEILING, CEILING)
    before = world.wire["datagrams"]
    world.run(600)
    assert world.wire["datagrams"] - before < 2 * 130


@pytest.mark.parametrize("mtu", [1500, 1400, 1280])
def test_a_long_way_is_no_narrow_one(world: World, mtu: int) -> None:
    """Round trip 600 ms: the Initial is repeated and made smaller before the first answer can be there."""
    narrow(world, mtu)
    world.up.delay = world.down.delay = 0.3
    assert world.run_until(lambda: both_up(world), 5) < 4
    assert world.client.connection is not None
    # The answer to the first Initial that arrived counts, not the size of the last one.
    assert mtu < 1500 or world.client.connection.datagram_size == 1472
    world.run_until(lambda: sizes(world) == (mtu - AROUND, mtu - AROUND), 12)


@pytest.mark.parametrize("mtu", [1492, 1420])
def test_nobody_sees_the_sizes_of_the_ladder(world: World, mtu: int) -> None:
    narrow(world, mtu)
    seen: set[int | None] = set()

    def look() -> None:
        seen.update(sizes(world))

    world.every(0.001, look)
    world.run(5)
    assert seen == {None, mtu - AROUND}


def test_a_dead_server_costs_no_more_attempts(world: World) -> None:
    world.up.cut = True
    world.run(3 * ALONE.attempt[0])
    assert sum("connecting" in text for text in world.states("client")) <= 3
    assert world.wire["datagrams"] <= 24


def test_reconnects_begin_with_the_size_that_worked(world: World) -> None:
    narrow(world, 1320)
    world.run_until(lambda: sizes(world) == (1320 - AROUND, 1320 - AROUND), 5)
    assert world.server is not None
    world.server.close(world.now)
    world.run(0.1)
    world.start_server()
    world.run_until(lambda: world.client.state != "up", 5)
    started = world.now
    world.run_until(lambda: both_up(world), 5)
    assert world.client.connection is not None
    assert world.client.connection.datagram_size == 1320 - 28
    assert world.now - started < 1


@pytest.mark.slow
@pytest.mark.parametrize("talker", ["client", "server", "both"])
@pytest.mark.parametrize("load", ["full", "trickle", "mixed"])
@pytest.mark.parametrize("mtu", [1400, 1280])
def test_a_path_that_shrinks_is_survived(world: World, mtu: int, load: str, talker: str) -> None:
    """Carried again within two seconds, session kept; ``full``: nothing but full packets, as a TCP stream sends."""
    world.run_until(lambda: both_up(world), 1)
    session = world.client.session
    interval = 0.2 if load == "trickle" else 0.002
    number = 0

    def send() -> None:
        nonlocal number
        number += 1
        assert world.server is not None
        for who, tunnel, put in (
            ("client", world.client, world.from_client),
            ("server", world.server, world.from_server),
        ):
            if talker in {who, "both"}:
                mtu_now = tunnel.mtu or 576
                put(packet(number, mtu_now))
                if load == "mixed":
                    put(packet(0, 80))

    world.every(interval, send)
    world.run(3)
    for change in (mtu, 1280):
        narrow(world, change)
        ends = {"client": [world.at_server], "server": [world.at_client], "both": [world.at_server, world.at_client]}
        for arrived in ends[talker]:
            start, before = world.now, len(arrived)
            world.run_until(lambda: any(len(data) > 200 for _, data in arrived[before:]), 2.5)  # noqa: B023
            assert world.now - start < 2
    world.run(2)
    assert world.client.session == session
    client, server = sizes(world)
    assert talker == "server" or client == 1280 - AROUND
    assert talker == "client" or server == 1280 - AROUND
    assert world.client.counters.drops["queue_full"] == 0


def test_a_long_path_that_shrinks(world: World) -> None:
    world.up.delay = world.down.delay = 0.15
    world.run_until(lambda: both_up(world), 4)
    world.every(0.01, lambda: world.from_client(packet(1, world.client.mtu or 576)))
    world.run(5)
    narrow(world, 1400)
    # What was on its way arrives for 0.15 s.
    world.run(0.2)
    before = len(world.at_server)
    assert world.run_until(lambda: len(world.at_server) > before, 3) < 1.6


@pytest.mark.slow
@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_plain_loss_shrinks_nothing(world: World, loss: float) -> None:
    world.run_until(lambda: both_up(world), 1)
    world.up.loss = loss
    smallest = CEILING

    def send() -> None:
        nonlocal smallest
        smallest = min(smallest, world.client.mtu or 0)
        world.from_client(packet(1, CEILING))

    world.every(0.005, send)
    world.run(60)
    assert smallest == CEILING


@pytest.mark.parametrize(("loss", "per_second"), [(0.02, 6), (0.2, 16)])
def test_probes_are_few_under_loss(world: World, loss: float, per_second: int) -> None:
    world.run_until(lambda: both_up(world), 1)
    world.run(1)
    world.up.loss = loss
    probes = 0
    connection = world.client.connection
    assert connection is not None
    probe = type(connection).probe

    def count(self: object, size: int) -> None:
        nonlocal probes
        probes += 1
        probe(self, size)  # type: ignore[arg-type]

    type(connection).probe = count  # type: ignore[method-assign]
    try:
        world.every(0.01, lambda: world.from_client(packet(1, CEILING)))
        world.run(60)
    finally:
        type(connection).probe = probe  # type: ignore[method-assign]
    assert probes < 60 * per_second


def test_packets_of_a_middle_size_hide_nothing(world: World) -> None:
    """They count as large and still arrive, while full ones do not."""
    world.run_until(lambda: both_up(world), 1)
    world.every(0.003, lambda: world.from_client(packet(1, 1220)))
    world.every(0.003, lambda: world.from_client(packet(2, world.client.mtu or 576)))
    world.run(1)
    narrow(world, 1300)
    assert world.run_until(lambda: sizes(world)[0] == 1300 - AROUND, 3) < 2


def test_a_path_that_grows_is_found_later(world: World) -> None:
    narrow(world, 1400)
    world.run_until(lambda: sizes(world) == (1400 - AROUND, 1400 - AROUND), 5)
    world.run(120)
    narrow(world, 1500)
    world.run_until(lambda: sizes(world) == (CEILING, CEILING), 1300)


def test_an_unlucky_handshake_is_made_up_for_at_once(world: World) -> None:
    """The first Initial is lost, the second is smaller."""
    world.up.cut = True
    world.run(0.1)
    world.up.cut = False
    world.run_until(lambda: both_up(world), 1)
    assert world.run_until(lambda: sizes(world) == (CEILING, CEILING), 1) < 0.3


def test_a_dead_path_shrinks_nothing(world: World) -> None:
    world.run_until(lambda: both_up(world), 1)
    world.every(0.01, lambda: world.from_client(packet(1, CEILING)))
    world.run(1)
    world.up.cut = world.down.cut = True
    world.run_until(lambda: world.client.state != "up", 3)
    assert sizes(world) == (CEILING, CEILING)


def test_local_refusals_lower_the_attempt_at_once(world: World) -> None:
    """EMSGSIZE: nothing above the size of the own link leaves."""
    narrow(world, 1280)
    world.run(0.001)
    for _ in range(3):
        world.client.too_big(world.now)
        world.run(0)
    assert world.run_until(lambda: both_up(world), 1) < 0.1


def test_local_refusals_are_believed_when_probes_agree(world: World) -> None:
    world.run_until(lambda: both_up(world), 1)
    world.run(1)
    world.client.too_big(world.now)
    world.run(2)
    assert sizes(world)[0] == CEILING
    narrow(world, 1300)
    world.client.too_big(world.now)
    assert world.run_until(lambda: sizes(world)[0] == 1300 - AROUND, 2) < 1


def test_rounds_close_in() -> None:
    for low in (BASE, 1232, 1352, 1464):
        for high in range(low + 1, 1473):
            asked = between(low, high)
            assert asked == sorted(set(asked))
            assert low < asked[0]
            assert asked[-1] == high
            assert len(asked) <= 14
