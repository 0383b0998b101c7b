# SPDX-License-Identifier: GPL-3.0-or-later
"""Which paths are good: black holes, loss, queues and pauses in virtual time, at both ends."""

from __future__ import annotations

import functools

import pytest
from mpquic.core.multipath.health import State
from wans import Way, World

UP, PROBATION, LOSSY, SUSPECT, DOWN = State.UP, State.PROBATION, State.LOSSY, State.SUSPECT, State.DOWN


def wan(rtt: float = 0.05, **rest: float) -> tuple[Way, Way]:
    return Way(delay=rtt / 2, **rest), Way(delay=rtt / 2, **rest)


def until(world: World, condition, most: float) -> float:
    start = world.now
    while not condition():
        assert world.now - start < most, [end.history for end in world.ends]
        world.run(0.001)
    return world.now - start


def up_everywhere(world: World) -> bool:
    return all(end.health(number).rank == 0 for end in world.ends for number in end.paths)


# --- black holes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rtt", [0.001, 0.05])
@pytest.mark.parametrize("hole", ["up", "down", "up and down"])
def test_a_black_hole_under_load_is_left_in_a_fraction_of_a_second(rtt: float, hole: str) -> None:
    world = World([wan(rtt), wan(rtt)])
    world.traffic()
    world.run(3.37)
    world.cut(1, up="up" in hole, down="down" in hole)
    left = until(world, lambda: all(end.health(1).rank == 3 for end in world.ends), 0.25)
    assert left < 0.2
    world.run(5.0)
    assert [end.chosen for end in world.ends] == [2, 2]
    assert [end.switches for end in world.ends] == [1, 1]
    world.cut(1, up=False, down=False)
    assert until(world, lambda: up_everywhere(world), 10.0) < 3.0
    for end in world.ends:
        assert end.states(1)[-3:] == [SUSPECT, PROBATION, UP] or not end.states(1)[1:]
    world.run(1.0)
    assert [end.chosen for end in world.ends] == [1, 1]


@pytest.mark.parametrize("hole", ["up", "down", "up and down"])
@pytest.mark.parametrize("idle", [5.1, 5.35, 5.6, 5.85, 20.0])
def test_an_idle_black_hole_is_found_by_pings(hole: str, idle: float) -> None:
    world = World([wan(), wan()])
    world.traffic(until=world.now + 1.0)
    world.run(idle)
    world.cut(1, up="up" in hole, down="down" in hole)
    # The interval of the pings, and what a confirmation takes.
    most = 0.45 if idle < 10 else 1.25
    until(world, lambda: all(end.health(1).rank == 3 for end in world.ends), most)


def test_a_server_with_nothing_to_send_learns_from_its_client() -> None:
    world = World([wan(), wan()])
    world.run(20.0)
    world.server.monitor.restart(world.now)
    world.cut(2)
    until(world, lambda: world.server.health(2).rank == 3, 1.25)
    assert (world.server.state(2), world.server.health(2).peer) == (UP, SUSPECT)


@pytest.mark.parametrize("hole", ["up", "down", "up and down"])
@pytest.mark.parametrize("sender", [0, 1])
def test_only_one_end_sends(hole: str, sender: int) -> None:
    world = World([wan(), wan()])
    world.traffic(ends=[world.ends[sender]])
    world.run(3.0)
    world.cut(1, up="up" in hole, down="down" in hole)
    until(world, lambda: world.ends[sender].chosen == 2, 0.2)
    world.run(0.05)
    assert all(end.health(1).rank == 3 for end in world.ends)


@pytest.mark.parametrize("hole", ["up", "down"])
def test_what_swallows_acknowledgements_is_no_pause(hole: str) -> None:
    """None of the packets of one end is lost then; it must suspect again as soon as before, for the other's sake."""
    world = World([wan(), wan()])
    world.traffic(200.0)
    for _ in range(3):
        world.run(3.0)
        world.cut(1, up="up" in hole, down="down" in hole)
        assert until(world, lambda: all(end.health(1).rank == 3 for end in world.ends), 0.5) < 0.2
        world.run(1.0)
        world.cut(1, up=False, down=False)
        until(world, lambda: up_everywhere(world), 10.0)


def test_the_first_packet_into_a_hole_that_nobody_has_noticed() -> None:
    world = World([wan(), wan()])
    world.run(20.0)
    world.cut(1)
    world.traffic(50.0)
    until(world, lambda: world.client.chosen == 2, 0.25)


@pytest.mark.parametrize("delay", [0.3])
def test_a_satellite(delay: float) -> None:
    world = World([(Way(delay=delay), Way(delay=delay)), wan()])
    world.traffic()
    world.run(60.0)
    assert not world.client.switches
    assert not world.server.switches
    world.cut(1)
    assert until(world, lambda: all(end.health(1).rank == 3 for end in world.ends), 3.0) < 1.5
    world.cut(1, up=False, down=False)
    until(world, lambda: up_everywhere(world), 10.0)


# --- what is no black hole --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rtt", [0.001, 0.05, 0.6])
@pytest.mark.parametrize("jitter", [0.0, 0.02])
@pytest.mark.parametrize("rate", [0.0, 3.0, 100.0])
def test_a_good_path_is_never_suspected(rtt: float, jitter: float, rate: float) -> None:
    world = World([wan(rtt, jitter=jitter, loss=0.005)], seed=7)
    if rate:
        world.traffic(rate)
    world.run(90.0 if rate < 50 else 30.0)
    for end in world.ends:
        assert end.states(1) == [UP]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rtt", [0.001, 0.05])
def test_a_burst_of_loss_is_one_switch(rtt: float, seed: int) -> None:
    world = World([wan(rtt), wan(rtt)], seed=seed)
    world.traffic()
    world.run(5.0)
    for way in world.ways[1]:
        way.loss = 0.3
    world.run(10.0)
    assert all(end.switches <= 1 for end in world.ends)
    assert all(end.chosen == 2 for end in world.ends)
    for way in world.ways[1]:
        way.loss = 0.0
    assert until(world, lambda: up_everywhere(world), 10.0) > 1.0
    world.run(5.0)
    assert all(end.switches <= 2 and end.chosen == 1 for end in world.ends)


def test_much_loss_on_the_only_path_is_no_silence() -> None:
    """One of two round trips fails: three in a row mean nothing, and no pings succeed long enough for a probation."""
    world = World([wan(0.001)], seed=4)
    for way in world.ways[1]:
        way.loss = 0.3
    world.traffic()
    world.run(5.0)
    for end in world.ends:
        assert end.state(1) is LOSSY
        end.history.clear()
    world.run(20.0)
    for end in world.ends:
        assert end.states(1).count(SUSPECT) <= 1
        assert end.states(1).count(PROBATION) <= 1


def test_more_than_a_path_can_carry_is_no_fault_of_the_path() -> None:
    """UDP that does not slow down: elsewhere it would be too much as well. It may leave once, not again and again."""
    world = World([wan(), wan()])
    for ways in world.ways.values():
        ways[0].rate, ways[0].queue = 2.5e5, 0.05

    def flood() -> None:
        world.client.send()
        world.at(world.now + world.chance.expovariate(300.0), flood)

    flood()
    world.run(60.0)
    assert world.client.switches <= 5
    assert world.client.health(1).loss > 0.2
    assert world.client.state(1) is UP
    # A minute after that, loss is loss.
    world.run(0.1)
    for ways in world.ways.values():
        ways[0].rate = 1e9
    world.run(65.0)
    world.ways[1][0].loss = 0.3
    until(world, lambda: world.client.state(1) is LOSSY, 4.0)


def test_a_second_burst_of_loss_is_left_as_the_first() -> None:
    world = World([wan(), wan()], seed=2)
    world.traffic()
    for number in (1, 2):
        world.run(3.0)
        for way in world.ways[1]:
            way.loss = 0.3
        until(world, lambda: world.client.state(1) is LOSSY, 5.0)
        world.run(6.0)
        assert world.client.switches == 2 * number - 1
        for way in world.ways[1]:
            way.loss = 0.0
        until(world, lambda: up_everywhere(world), 10.0)
        world.run(0.5)


def test_loss_that_ends_under_load_was_not_the_load() -> None:
    world = World([wan()], seed=2)
    world.traffic()
    for _ in range(2):
        world.run(3.0)
        for way in world.ways[1]:
            way.loss = 0.3
        until(world, lambda: world.client.state(1) is LOSSY, 4.0)
        world.run(2.0)
        for way in world.ways[1]:
            way.loss = 0.0
        until(world, lambda: up_everywhere(world), 10.0)


def test_loss_in_one_direction_moves_one_direction() -> None:
    world = World([wan(), wan()])
    world.traffic()
    world.run(5.0)
    world.ways[1][0].loss = 0.15
    world.run(10.0)
    assert world.client.state(1) is LOSSY
    assert world.server.state(1) is UP
    assert world.server.health(1).peer is LOSSY
    assert world.server.health(1).peer_loss > 0.05
    assert (world.client.chosen, world.server.chosen) == (2, 1)
    assert world.client.health(1).loss > 0.05
    assert world.server.health(1).loss == 0
    world.ways[1][0].loss = 0.0
    until(world, lambda: up_everywhere(world), 10.0)
    assert world.server.switches == 0


def test_a_little_loss_is_borne() -> None:
    world = World([wan(loss=0.02), wan()], seed=3)
    world.traffic()
    world.run(60.0)
    assert all(end.switches == 0 for end in world.ends)
    assert 0.005 < world.client.health(1).loss < 0.05


def test_lossy_and_idle() -> None:
    """A standby path that loses packets is known before it is needed; pings alone show it."""
    world = World([wan(), wan()], seed=5)
    world.traffic()
    world.run(5.0)
    for way in world.ways[2]:
        way.loss = 0.3
    until(world, lambda: world.client.state(2) is LOSSY, 60.0)
    for way in world.ways[2]:
        way.loss = 0.0
    until(world, lambda: up_everywhere(world), 12.0)


def test_one_overflowing_queue_is_no_lossy_path() -> None:
    world = World([wan(), wan()])
    world.traffic(400.0)
    world.run(5.0)
    for start in (0.0, 1.3):
        world.at(world.now + start, lambda: setattr(world.ways[1][0], "loss", 0.6))
        world.at(world.now + start + 0.2, lambda: setattr(world.ways[1][0], "loss", 0.0))
    world.run(10.0)
    assert world.client.states(1) == [UP]


def test_a_queue_that_fills_is_no_silence() -> None:
    """300 ms more round trip time within a second, and back, again and again."""
    world = World([wan(0.02), wan(0.02)])
    for way in world.ways[1]:
        way.rate, way.queue = 5e5, 1.0
    # 158 bytes a packet: 400 a second fill the link.
    world.traffic(50.0)
    for start in range(5, 25, 5):
        world.at(world.now + start, functools.partial(world.traffic, 450.0, until=world.now + start + 1.0))
    most = [0.0]

    def look() -> None:
        most[0] = max(most[0], world.client.paths[1].connection.clock.srtt)

    world.every(0.01, look)
    world.run(25.0)
    assert most[0] > 0.3
    for end in world.ends:
        assert end.states(1) == [UP]


@pytest.mark.parametrize("sender", [0, 1])
def test_acknowledgements_behind_a_burst(sender: int) -> None:
    """Eight TCP flows that begin at once fill a queue of 100 ms in no time, with acknowledgements behind."""
    world = World([wan(0.02), wan(0.02)])
    for way in world.ways[1]:
        way.rate = 1e7
    world.traffic()
    world.run(5.0)
    for _ in range(5):
        world.ends[sender].send(950)
        world.run(2.0)
    for end in world.ends:
        assert end.states(1) == [UP]


def test_pauses_of_a_radio_link_are_learned() -> None:
    """300 ms without anything, after which everything comes, every 5 s: suspected once, not every time."""
    world = World([wan(), wan()])
    world.traffic()
    world.run(5.0)

    def pause() -> None:
        for way in world.ways[1]:
            way.stopped_until = world.now + 0.3

    world.every(5.0, pause, until=world.now + 80.0)
    world.run(85.0)
    for end in world.ends:
        assert end.states(1).count(SUSPECT) <= 1
        assert end.states(1)[-1] is UP
    # A real gap is still found, later; and after a minute of peace as soon as ever.
    world.cut(1)
    assert until(world, lambda: world.client.health(1).rank == 3, 0.6) > 0.25
    world.cut(1, up=False, down=False)
    world.run(90.0)
    world.cut(1)
    assert until(world, lambda: world.client.health(1).rank == 3, 0.6) < 0.2


def test_the_first_packet_after_silence_gets_lost() -> None:
    world = World([wan()])
    world.run(5.0)
    for end in world.ends:
        for number in range(10):
            way = world.ways[1][world.ends.index(end)]
            way.loss = 1.0
            end.send()
            way.loss = 0.0
            world.run(5.0 + number / 10)
    for end in world.ends:
        assert end.states(1) == [UP]


def test_this_program_stood_still() -> None:
    world = World([wan()])
    world.traffic()
    world.run(5.0)
    world.now += 2.0
    for end in world.ends:
        end.monitor.fire(world.now)
    world.run(2.0)
    for end in world.ends:
        assert end.states(1) == [UP]
    # In the middle of a silence that is being watched, with answers on their way.
    world.ways[1][1].stopped_until = world.now + 0.09
    world.run(0.08)
    assert world.client.state(1) is UP
    world.now += 0.12
    for end in world.ends:
        end.monitor.fire(world.now)
    world.run(2.0)
    for end in world.ends:
        assert end.states(1) == [UP]
    # What waits to be read makes the round trip times look longer for a moment.
    world.now += 0.2
    world.cut(1)
    until(world, lambda: world.client.state(1) is SUSPECT, 0.8)


# --- ways back --------------------------------------------------------------------------------------------------------


def test_probation_grows_with_flaps_and_is_forgotten() -> None:
    world = World([wan(), wan()])
    world.traffic()
    world.run(5.0)
    times = []
    for _ in range(3):
        world.cut(1)
        world.run(1.0)
        world.cut(1, up=False, down=False)
        times.append(until(world, lambda: up_everywhere(world), 10.0))
        world.run(3.0)
    assert times[0] == pytest.approx(2.1, abs=0.2)
    assert times[1:] == pytest.approx([4.1, 4.1], abs=0.2)
    world.run(60.0)
    world.cut(1)
    world.run(1.0)
    world.cut(1, up=False, down=False)
    assert until(world, lambda: up_everywhere(world), 10.0) == pytest.approx(2.1, abs=0.2)


def test_a_flapping_path_is_used_no_more_until_it_stops() -> None:
    world = World([wan(), wan()])
    world.traffic()
    world.run(5.0)
    for second in range(0, 60, 4):
        world.at(world.now + second, lambda: world.cut(1))
        world.at(world.now + second + 2.0, lambda: world.cut(1, up=False, down=False))
    world.run(60.0)
    assert all(end.switches <= 3 for end in world.ends)
    assert until(world, lambda: up_everywhere(world), 10.0) < 10.0
    world.run(0.5)
    assert all(end.chosen == 1 for end in world.ends)


def test_connections_come_and_go() -> None:
    world = World([wan(), wan()], connect=False)
    client = world.client
    assert client.state(1) is State.CONNECTING
    assert client.health(1).rank == 4
    client.monitor.lost(client.paths[2], "no route", world.now)
    client.settle()
    assert (client.state(2), client.health(2).fails) == (DOWN, 1)
    client.monitor.lost(client.paths[2], "no answer", world.now)
    assert (client.health(2).reason, client.health(2).fails) == ("no answer", 1)
    world.connect(1)
    assert client.states(1) == [UP]
    world.run(1.0)
    world.connect(2)
    assert client.state(2) is PROBATION
    # At the server it is new, but the client's word counts.
    world.run(0.5)
    assert (world.server.state(2), world.server.health(2).rank) == (UP, 1) or world.server.health(2).peer is PROBATION
    world.run(2.0)
    assert up_everywhere(world)
    world.lose(1)
    world.lose(2)
    assert client.health(2).last_down == world.now
    world.run(1.0)
    world.connect(2)
    assert client.state(2) is UP, "who is alone needs no probation"
    assert client.health(2).last_up == world.now
    assert client.health(2).fails == 2
    generation = client.monitor.generation
    world.run(60.5)
    assert client.health(2).fails == 1
    assert client.monitor.generation > generation
    world.run(60.0)
    assert client.health(2).fails == 0
    assert client.health(1).switches == 1


def test_failures_are_counted_to_six() -> None:
    world = World([wan(), wan()])
    for _ in range(9):
        world.lose(1)
        world.run(0.5)
        world.connect(1)
        world.run(5.0)
    assert world.client.health(1).fails == 6


def test_a_new_connection_in_place_of_a_good_one_changes_nothing() -> None:
    world = World([wan(), wan()])
    world.traffic()
    world.run(5.0)
    for end in world.ends:
        end.paths[1].connection.open = False
    world.connect(1)
    world.run(5.0)
    for end in world.ends:
        assert end.states(1) == [UP]


def test_everything_is_suspect_and_nothing_thrashes() -> None:
    world = World([wan(), wan(), wan()])
    world.traffic()
    world.run(5.0)
    for number in world.ways:
        world.cut(number)
    world.run(1.4)
    assert all(end.state(number) is SUSPECT for end in world.ends for number in end.paths)
    for end in world.ends:
        assert end.switches <= 3
        assert len(end.history) == 3 + 3
    switches = [end.switches for end in world.ends]
    generations = [end.monitor.generation for end in world.ends]
    world.run(3.0)
    assert [end.switches for end in world.ends] == switches
    assert [end.monitor.generation for end in world.ends] == generations
    for number in world.ways:
        world.cut(number, up=False, down=False)
    until(world, lambda: up_everywhere(world), 10.0)


def test_a_new_connection_is_not_what_the_peer_spoke_of() -> None:
    world = World([wan(), wan()])
    world.run(3.0)
    world.lose(1, ends=[world.client])
    until(world, lambda: world.server.health(1).rank == 3, 0.1)
    assert world.server.state(1) is UP
    world.connect(1)
    assert world.server.health(1).rank == 1


def test_a_removed_path_is_forgotten() -> None:
    world = World([wan(), wan()])
    world.run(3.0)
    path = world.client.paths[2]
    generation = world.client.monitor.generation
    world.client.monitor.lost(path, "path removed", world.now)
    world.client.monitor.remove(path)
    assert world.client.monitor.changes() == []
    assert world.client.monitor.generation > generation
    world.server.monitor.remove(world.server.paths[2])
    world.run(3.0)
    assert len(world.client.history) == 2


def test_round_trip_times_are_not_those_of_the_handshake() -> None:
    world = World([wan(0.01), wan(0.01)], connect=False)
    world.connect(1)
    for way in world.ways[2]:
        way.delay = 0.2
    world.connect(2)
    for way in world.ways[2]:
        way.delay = 0.005
    world.run(0.5)
    for end in world.ends:
        connection = end.paths[2].connection
        assert connection is not None
        assert connection.clock.srtt < 0.02
    # A server asks, too, now and then.
    clock = world.server.paths[2].connection.clock
    world.run(20.0)
    before = clock.acked_total
    world.run(40.0)
    assert 3 <= clock.acked_total - before <= 5
