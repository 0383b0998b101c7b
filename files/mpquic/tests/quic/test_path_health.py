# SPDX-License-Identifier: GPL-3.0-or-later
"""How real connections look to what judges the paths: what QUIC does by itself is no fault, and idling is cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mpquic.core.multipath.health import State
from several import Line, Several, Stream, paths
from simulation import World, packet

if TYPE_CHECKING:
    import functools
    from pathlib import Path

    from mpquic.core.multipath.health import PathHealth
    from simulation import Way


class Weighed(Several):
    """Counts the bytes of IP packets on each way."""

    def _carry(self, way: Way, data: bytes, arrive: functools.partial[None]) -> None:
        weights = self.__dict__.setdefault("octets", {})
        weights[id(way)] = weights.get(id(way), 0) + len(data) + 28
        super()._carry(way, data, arrive)

    def weight(self, line: Line) -> int:
        weights = self.__dict__["octets"]
        return weights.get(id(line.up), 0) + weights.get(id(line.down), 0)


def _healths(world: Several) -> list[PathHealth]:
    assert world.server is not None
    ends = [world.client.bundle.paths, world.server.sessions["client1"].paths]
    return [path.health for end in ends for path in end.values() if path.health is not None]


def _quiet(world: Several) -> bool:
    """Tell whether nothing ever happened to a path."""
    return all(health.switches == 0 and health.state is State.UP and health.fails == 0 for health in _healths(world))


@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "loaded"])
def test_probes_for_a_larger_mtu_are_no_silence(tmp_path: Path, *, loaded: bool) -> None:
    world = Several(tmp_path, paths(0, 10))
    for line in world.lines.values():
        line.up.mtu = line.down.mtu = 1300
    if loaded:
        Stream(world), Stream(world, down=True)
    world.run(8)
    assert [leg.path.fit.mtu for leg in world.client.legs] == [1234, 1234]
    assert _quiet(world)


def test_key_updates_are_no_silence(tmp_path: Path) -> None:
    world = Several(tmp_path, paths(0, 10))
    world.run_until(world.all_up, 2)
    streams = Stream(world), Stream(world, down=True)

    def update() -> None:
        for leg in world.client.legs:
            assert leg.connection is not None
            leg.connection.update_keys()  # type: ignore[attr-defined]

    world.every(1.0, update)
    world.run(5)
    assert all(leg.connection.key_updates >= 4 for leg in world.client.legs if leg.connection is not None)
    assert _quiet(world)
    assert [stream.outage() < 0.02 for stream in streams] == [True, True]


@pytest.mark.parametrize(("rtt", "jitter"), [(0.001, 0.02), (0.05, 0.02), (0.6, 0.02), (0.6, 0.1)])
def test_far_and_unsteady_paths_are_good_paths(tmp_path: Path, rtt: float, jitter: float) -> None:
    world = Several(tmp_path, paths(0, 10), rtt=rtt)
    for line in world.lines.values():
        line.up.jitter = line.down.jitter = jitter
    streams = Stream(world), Stream(world, down=True)
    world.run(4)
    for stream in streams:
        stream.stop()
    world.run(15)
    assert _quiet(world)


def test_a_queue_that_fills_under_load(tmp_path: Path) -> None:
    """300 ms more round trip time within a second, three times."""
    world = Several(tmp_path, paths(0, 10), rtt=0.02)
    for way in (world.lines[1].up, world.lines[1].down):
        way.rate, way.buffer = 2e6, 200_000
    world.run_until(world.all_up, 2)
    most = 0.0
    for _time in range(3):
        streams = [Stream(world, down=down, interval=0.004, size=1200, port=6000) for down in (False, True)]
        for _step in range(10):
            world.run(0.1)
            assert world.leg(1).connection is not None
            most = max(most, world.leg(1).connection.clock.srtt or 0.0)
        for stream in streams:
            stream.stop()
        world.run(3)
    assert most > 0.3
    assert _quiet(world)


def test_the_peer_knows_the_loss(tmp_path: Path) -> None:
    world = Several(tmp_path, paths(0, 10))
    world.run_until(world.all_up, 2)
    Stream(world), Stream(world, down=True)
    world.lines[1].up.loss = 0.15
    world.run(8)
    client, _, server, _ = _healths(world)
    assert (client.state, server.state, server.peer) == (State.LOSSY, State.UP, State.LOSSY)
    assert server.peer_loss == pytest.approx(client.loss, abs=0.1)
    assert server.rank == 0


@pytest.mark.parametrize("several", [False, True], ids=["one path", "several"])
def test_a_server_says_whose_circuit_breaker_it_is(tmp_path: Path, *, several: bool) -> None:
    if several:
        world: Several | World = Several(tmp_path, paths(0))
        down = world.lines[1].down
        world.run_until(world.all_up, 2)
        Stream(world, down=True)
    else:
        world = World(tmp_path)
        down = world.down
        world.run_until(lambda: world.client.state == "up", 2)
        world.every(0.01, lambda: world.from_server(packet(1)))
    down.loss = 0.5
    world.run(8)
    told = [detail for (_at, who, text), (_who, detail) in zip(world.history, world.told, strict=True)
            if (who, text.partition(":")[0]) == ("server", "breaker open")]  # fmt: skip
    assert told == ["peer=client1 name=wan1" if several else "peer=client1"]


def test_a_server_that_begins_anew(tmp_path: Path) -> None:
    world = Several(tmp_path, paths(0, 10, 20))
    world.run_until(world.all_up, 2)
    Stream(world), Stream(world, down=True)
    world.run(1)
    world.server = None
    world.run(3)
    assert {world.state(number) for number in world.lines} <= {"suspect", "down"}
    world.start_server()
    world.run_until(world.all_up, 10)


@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "loaded"])
def test_a_path_in_reserve_costs_little(tmp_path: Path, *, loaded: bool) -> None:
    world = Weighed(tmp_path, paths(0, 10, 20))
    if loaded:
        Stream(world, interval=0.05), Stream(world, down=True, interval=0.05)
    world.run(20)
    before = [world.weight(line) for line in world.lines.values()]
    world.run(20)
    hour = [(world.weight(line) - was) * 180 for line, was in zip(world.lines.values(), before, strict=True)]
    # Both directions, in bytes: a ping a second and its answer; and by one path a report every 4 s from each end.
    assert all(400_000 < octets < 500_000 for octets in hour[1:])
    assert loaded or hour[0] < 720_000
