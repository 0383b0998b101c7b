# SPDX-License-Identifier: GPL-3.0-or-later
"""Random lives of paths: whatever happens, a path without faults is UP within 10 s, and no timer runs in circles."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from mpquic.core.multipath.health import RANKS, State
from mpquic.core.multipath.report import Seen, encode
from wans import Way, World

if TYPE_CHECKING:
    from wans import End

CONNECTED = {State.UP, State.PROBATION, State.LOSSY, State.SUSPECT}


class Life:
    """A world, what befalls it, and what must hold all the time."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        rtts = [chance.choice([0.001, 0.02, 0.05, 0.2, 0.6]) for _ in range(chance.randint(1, 4))]
        jitter = chance.choice([0.0, 0.02])
        ways = [(Way(delay=rtt / 2, jitter=jitter), Way(delay=rtt / 2, jitter=jitter)) for rtt in rtts]
        self.world = World(ways, seed=seed, connect=False)
        self.seen: dict[str, tuple[int, list[tuple[int, int]]]] = {}
        self.world.every(0.02, self.look_after)
        if seed % 2:
            self.world.traffic(chance.choice([5.0, 50.0, 100.0]))

    # --- what the owner of the connections does ---

    def look_after(self) -> None:
        for end, least, trips in ((self.world.client, 1.5, 6), (self.world.server, 5.0, 10)):
            for number, path in end.paths.items():
                connection = path.connection
                if connection is None:
                    continue
                since = connection.clock.pending_since
                if since is not None and self.world.now > since + max(least, trips * (connection.clock.srtt or 0.0)):
                    self.world.lose(number, ends=[end])
        self.check()

    def check(self) -> None:
        for end in self.world.ends:
            healths = [(path, path.health) for path in end.paths.values()]
            for path, health in healths:
                assert (path.connection is not None) == (health.state in CONNECTED)
                assert health.rank == max(RANKS[health.state], health.peer_rank)
                assert health.peer_rank in (0, 1, 3)
                assert 0 <= health.loss <= 1
                assert 0 <= health.fails <= 6
                assert health.since <= self.world.now
            ranks = [(health.rank, health.fails) for _path, health in healths]
            generation = end.monitor.generation
            before = self.seen.get(end.name)
            assert before is None or before[1] == ranks or before[0] < generation
            self.seen[end.name] = generation, ranks

    # --- what befalls it ---

    def step(self) -> None:
        number = self.chance.choice(list(self.world.ways))
        self.chance.choice(
            [
                self.cut,
                self.mend,
                self.lossy,
                self.lose,
                self.dial,
                self.pause,
                self.narrow,
                self.stall,
                self.word,
                self.anew,
            ]
        )(number)
        self.world.run(self.chance.choice([0.0, 0.01, 0.1, 1.0, 3.0]))
        self.check()

    def cut(self, number: int) -> None:
        self.world.cut(number, up=self.chance.random() < 0.6, down=self.chance.random() < 0.6)

    def mend(self, number: int) -> None:
        self.world.cut(number, up=False, down=False)

    def lossy(self, number: int) -> None:
        self.chance.choice(self.world.ways[number]).loss = self.chance.choice([0.0, 0.01, 0.1, 0.3, 0.6])

    def lose(self, number: int) -> None:
        ends = self.world.ends
        self.world.lose(number, "carrier lost", ends=self.chance.choice([ends, ends[:1], ends[1:]]))

    def dial(self, number: int) -> None:
        if self.world.client.paths[number].connection is None and not any(way.cut for way in self.world.ways[number]):
            self.world.connect(number)

    def pause(self, number: int) -> None:
        for way in self.world.ways[number]:
            way.stopped_until = self.world.now + self.chance.random()

    def narrow(self, number: int) -> None:
        self.chance.choice(self.world.ways[number]).rate = self.chance.choice([1e5, 1e6, 1e9])

    def stall(self, _number: int) -> None:
        self.world.now += self.chance.random()

    def word(self, number: int) -> None:
        end = self.chance.choice(self.world.ends)
        states = list(State)
        words = [
            Seen(self.chance.randrange(6), self.chance.choice(states), self.chance.random(), 0.0) for _ in range(3)
        ]
        end.monitor.hear(end.paths[number], encode(self.chance.getrandbits(32), words), self.world.now)

    def anew(self, _number: int) -> None:
        self.chance.choice(self.world.ends).monitor.restart(self.world.now)

    def heal(self) -> None:
        for number, ways in self.world.ways.items():
            for way in ways:
                way.cut, way.loss, way.rate, way.free_at, way.stopped_until = False, 0.0, 1e9, 0.0, 0.0
            path = self.world.client.paths[number]
            if path.connection is None or self.world.server.paths[number].connection is not path.connection.far:
                self.world.connect(number)

    @property
    def worst(self) -> tuple[int, End, list[object]]:
        return max(
            (
                (health.rank, end, [health, [item for item in end.history if item.path is path][-6:]])
                for end in self.world.ends
                for path in end.paths.values()
                if (health := path.health) is not None
            ),
            key=lambda item: item[0],
        )


@pytest.mark.parametrize("seed", range(16))
def test_every_path_comes_back(seed: int) -> None:
    life = Life(seed)
    for _ in range(30):
        life.step()
    life.heal()
    # Connections that had been silent for too long end even now.
    life.world.run(4.0)
    life.heal()
    end = life.world.now + 10.0
    while life.world.now < end:
        life.world.run(0.1)
        life.check()
    assert life.worst[0] == 0, life.worst[2]
    # And stays, as nothing happens any more.
    ups = [end.health(number).since for end in life.world.ends for number in end.paths]
    life.world.run(15.0)
    assert [end.health(number).since for end in life.world.ends for number in end.paths] == ups


@pytest.mark.parametrize("end", [0, 1])
def test_a_monitor_without_connections_sleeps(end: int) -> None:
    world = World([(Way(), Way())], connect=False)
    monitor = world.ends[end].monitor
    assert monitor.deadline() == float("inf")
    monitor.fire(world.now)
    world.connect(1)
    assert monitor.deadline() < float("inf")
    world.lose(1)
    world.run(5.0)
    assert monitor.deadline() == float("inf")
