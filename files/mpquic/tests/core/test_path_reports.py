# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ends tell each other about the paths, and what they make of it."""

from __future__ import annotations

import random
import time

import pytest
from mpquic.core.multipath import report
from mpquic.core.multipath.health import State
from mpquic.core.multipath.report import Heard, Seen, decode, encode
from mpquic.core.wire import CONTEXT_STATUS
from test_path_states import up_everywhere, wan
from wans import World

SEEN = [Seen(1, State.UP, 0.0, 0.05), Seen(255, State.SUSPECT, 0.123, 0.0), Seen(7, State.LOSSY, 1.0, 4000.0)]


def test_a_report_comes_back_as_it_was() -> None:
    assert decode(encode(77, SEEN)) == (77, SEEN)
    assert encode(1, [Seen(2, State.LOSSY, 0.055, 0.001)]).hex() == "04000000010102020037000003e8"


def test_there_is_no_more_on_the_wire_than_states() -> None:
    (seen,) = decode(encode(1, [Seen(1, State.CONNECTING, 2.0, 1e9)]))[1]
    assert seen == Seen(1, State.DOWN, 1.0, pytest.approx(4294.967295))


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x04", encode(1, SEEN)[:-1], b"\x02" + encode(1, SEEN)[1:], bytes([4, 0, 0, 0, 1, 255]) + bytes(100)],
)
def test_malformed_reports_are_nothing(payload: bytes) -> None:
    assert decode(payload) is None
    assert Heard().take(payload, 1.0) == []


def test_unknown_states_are_left_out_and_more_bytes_are_for_later_versions() -> None:
    data = bytearray(encode(1, SEEN))
    data[7] = 9
    assert decode(bytes(data) + b"more") == (1, SEEN[1:])


def test_old_numbers_and_copies_say_nothing() -> None:
    heard = Heard()
    now = 10.0
    assert heard.take(encode(5, SEEN), now)
    assert not heard.take(encode(5, SEEN), now)
    assert not heard.take(encode(4, SEEN), now + 4.9)
    assert heard.take(encode(6, SEEN), now)
    # A number that comes after 2^32 - 1, and one of a sender that began anew a while ago.
    assert not heard.take(encode((1 << 32) - 1, SEEN), now)
    assert heard.take(encode(3, SEEN), now + report.STALE)
    heard = Heard()
    assert heard.take(encode((1 << 32) - 1, SEEN), now)
    assert heard.take(encode(0, SEEN), now)


def test_a_flood_is_not_looked_at() -> None:
    heard = Heard()
    taken = sum(bool(heard.take(encode(number, SEEN), 10.0)) for number in range(10_000))
    assert taken <= 25
    assert heard.take(encode(10_001, SEEN), 11.0)


def test_hostile_reports_do_no_harm() -> None:
    world = World([wan(), wan()])
    world.traffic()
    chance = random.Random(3)

    def noise() -> None:
        for end in world.ends:
            size = chance.randrange(300)
            body = chance.randbytes(size)
            count = min(255, size // 8)
            payload = bytes([CONTEXT_STATUS]) + chance.randbytes(4) + bytes([count]) + body
            end.monitor.hear(end.paths[1], payload, world.now)

    world.every(0.01, noise, until=world.now + 20.0)
    start = time.process_time()
    world.run(20.0)
    assert time.process_time() - start < 20.0
    for end in world.ends:
        assert [end.state(1), end.state(2)] == [State.UP] * 2
        assert all(0 <= end.health(number).rank <= 3 for number in (1, 2))
    world.run(6.0)
    assert up_everywhere(world)


def test_a_change_is_told_at_once_and_three_times_by_another_path() -> None:
    world = World([wan(), wan()])
    world.run(15.0)
    told: list[tuple[float, int]] = []
    for number, path in world.client.paths.items():
        path.lane.say = lambda payload, number=number: told.append((world.now, number))  # type: ignore[method-assign]
    world.client.monitor.lost(world.client.paths[1], "carrier lost", world.now)
    world.client.paths[1].connection = None
    start = world.now
    world.run(0.5)
    assert [number for _at, number in told] == [2, 2, 2]
    assert [at - start for at, _number in told] == pytest.approx([0.0, 0.05, 0.1], abs=1e-6)


def test_the_peers_word_counts_until_it_is_taken_back_or_old() -> None:
    world = World([wan(), wan()])
    world.run(3.0)
    monitor, path = world.server.monitor, world.server.paths[1]
    health = world.server.health(1)
    generation = monitor.generation
    # Nothing more from the client itself.
    for number in (1, 2):
        world.cut(number)

    def say(number: int, state: State) -> None:
        monitor.hear(path, encode(number, [Seen(1, state, 0.01, 0.0), Seen(99, state, 0.0, 0.0)]), world.now)

    for number, state, rank in (
        (1000, State.LOSSY, 0),
        (1001, State.PROBATION, 0),
        (1002, State.SUSPECT, 3),
        (1003, State.PROBATION, 1),
        (1004, State.LOSSY, 1),
        (1005, State.UP, 0),
        (1006, State.DOWN, 3),
    ):
        say(number, state)
        assert (health.peer, health.rank) == (state, rank)
    assert monitor.generation == generation + 4
    assert health.state is State.UP
    assert health.peer_loss == 0.01
    end = world.now + 5.0
    while world.now < end - 0.1:
        assert health.peer_rank == 3
        world.run(0.05)
    world.run(0.2)
    assert (health.peer, health.peer_rank) == (None, 0)


def test_reports_of_a_peer_that_began_anew() -> None:
    world = World([wan(), wan()])
    world.run(3.0)
    monitor, path, health = world.client.monitor, world.client.paths[1], world.client.health(1)
    monitor.hear(path, encode(1 << 20, [Seen(1, State.DOWN, 0.0, 0.0)]), world.now)
    assert health.rank == 3
    monitor.restart(world.now)
    assert health.rank == 0
    monitor.hear(path, encode(1, [Seen(1, State.DOWN, 0.0, 0.0)]), world.now)
    assert health.rank == 3


def test_words_do_not_grow_old_in_quiet_times() -> None:
    world = World([wan(), wan()])
    world.run(15.0)
    before = world.wire["reports"]
    for _ in range(200):
        world.run(0.1)
        assert all(end.health(number).peer is State.UP for end in world.ends for number in end.paths)
    assert world.wire["reports"] - before <= 12


def test_many_paths_fit_and_the_worst_are_told() -> None:
    assert report.room(1200) == 149
    assert report.room(5) == 0
    world = World([wan()] * 16)
    world.run(3.0)
    assert all(health.health.peer is State.UP for health in world.server.paths.values())
