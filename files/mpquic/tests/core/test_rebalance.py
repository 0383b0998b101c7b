# SPDX-License-Identifier: GPL-3.0-or-later
"""Elephants on links of 50, 30 and 20 Mbit/s whose weights say so: where they end up, and that they stay there."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from mpquic.core.multipath.flowtable import FlowTable
from mpquic.core.multipath.health import State
from mpquic.core.multipath.policy import Rule, TrafficClass
from mpquic.core.multipath.rebalance import Rebalancer, _Trial
from packets import TCP, UDP, Packet
from spreading import End, Links, Sender, make_path, policy

if TYPE_CHECKING:
    from collections.abc import Callable

MEGA = 1e6
CAPACITIES = {1: 50 * MEGA, 2: 30 * MEGA, 3: 20 * MEGA}
WEIGHTS = {1: 5, 2: 3, 3: 2}
BEST = 50 * MEGA


def senders(count: int, seed: int, *offers: float) -> list[Sender]:
    """Return so many flows that take all they get, and others that offer fixed rates."""
    chance = random.Random(seed)
    ports = chance.sample(range(1024, 65536), count + len(offers))
    found = [Sender(Packet(ports=(port, 443), protocol=TCP)) for port in ports[:count]]
    return found + [
        Sender(Packet(ports=(port, 443), protocol=UDP), offer, offer)
        for port, offer in zip(ports[count:], offers, strict=True)
    ]


def moves(there: list[Sender], after: float = 0.0) -> int:
    """Count the moves later than that."""
    return sum(at > after for sender in there for at, _number in sender.visits[1:])


def run(seed: int, there: list[Sender], *, seconds: float = 8.0, end: End | None = None) -> Links:
    """Let flows find their places, then measure for 10 s."""
    links = Links(end or End(WEIGHTS), CAPACITIES, random.Random(seed))
    links.run(there, seconds)
    links.run(there, 10)
    return links


@pytest.mark.parametrize("count", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("seed", range(5))
def test_flows_that_take_all_they_get_use_what_there_is(count: int, seed: int) -> None:
    there = senders(count, seed)
    links = run(seed, there)
    assert links.total >= 0.9 * sum(sorted(CAPACITIES.values())[-count:])
    assert links.total >= 0.9 * BEST
    assert moves(there, after=8) == 0


@pytest.mark.parametrize(
    ("greedy", "offers"),
    [
        (0, (60,)),
        (0, (40, 40)),
        (0, (20, 20, 20, 20)),
        # By their number alone, these would put the only large one anywhere.
        (0, (45, 1, 1, 1)),
        (0, (45, 6, 6, 6)),
        (1, (1, 1, 1)),
        (1, (10,)),
        (2, (15,)),
        (0, (0.3, 0.3)),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_flows_that_need_little_do_not_hold_up_those_that_need_much(
    greedy: int, offers: tuple[float, ...], seed: int
) -> None:
    there = senders(greedy, seed, *(offer * MEGA for offer in offers))
    links = run(seed, there)
    assert links.total >= 0.9 * min(BEST, sum(sender.offers for sender in there))
    assert moves(there, after=8) == 0


def test_few_moves_are_enough() -> None:
    total = 0
    for seed in range(5):
        there = senders(16, seed)
        run(seed, there, seconds=1)
        total += moves(there)
    assert total <= 10


def lone(end: End, number: int, seed: int = 1) -> Packet:
    """Return a packet of a flow that goes by this path at first."""
    return next(
        sender.packet
        for sender in senders(64, seed)
        if [path.number for path in end.share(sender.packet, 9.0).paths] == [number]
    )


@pytest.mark.parametrize("number", [2, 3])
def test_an_elephant_alone_on_a_poor_path_is_moved_once_and_in_order(number: int) -> None:
    end = End(WEIGHTS)
    there = Sender(lone(end, number))
    links = Links(end, CAPACITIES, random.Random(1))
    while len(there.visits) < 2:
        assert links.now < 12
        links.run([there], Links.STEP)
    assert there.visits[-1][1] == 1
    # The paths differ by 20 or 40 ms: 50 ms are enough.
    links.run([there], 20)
    assert there.ordered == [there.visits[1][0]]
    assert len(there.visits) == 2
    assert links.total > 0.9 * BEST


def test_small_and_short_flows_stay() -> None:
    end = End(WEIGHTS)
    small = [Sender(packet.packet, 0.2 * MEGA, 0.2 * MEGA) for packet in senders(20, 99)]
    short = [Sender(lone(end, 3, seed), from_=seed, until=seed + 0.6) for seed in range(1, 8)]
    links = Links(end, CAPACITIES, random.Random(1))
    links.run([*small, *short], 10)
    assert moves(small) + moves(short) == 0


def test_a_flow_is_moved_again_only_after_ever_longer_times() -> None:
    # The best link carries next to nothing, so every flow there does better elsewhere, and it looks empty.
    there = senders(3, 1)
    links = Links(End(WEIGHTS), CAPACITIES | {1: 1 * MEGA}, random.Random(1))
    links.run(there, 60)
    for sender in there:
        times = [at for at, _number in sender.visits[1:]]
        assert all(after - before > 1.9 for before, after in pairwise(times))
        # A move that is taken back is that, and two moves.
        assert all(after - before > 1.9 * 2**place for place, (before, after) in enumerate(pairwise(times[::2])))
    assert moves(there, after=30) <= 4


def test_a_move_that_gains_nothing_is_undone_and_not_soon_repeated() -> None:
    end = End({1: 5, 2: 5})
    there = senders(4, 1)
    links = Links(end, {1: 50 * MEGA, 2: 1 * MEGA}, random.Random(1))
    end.set(2, State.DOWN, 10.0)
    links.run(there, 2)
    end.set(2, State.UP, links.now)
    for sender in there:
        end.share(sender.packet, links.now).flow.home = end.paths[1]
    links.run(there, 1)
    links.run(there, 60)
    back = [sender for sender in there if [number for _at, number in sender.visits[-3:]] == [1, 2, 1]]
    assert back
    assert moves(there, after=30) <= 4
    assert links.total > 0.85 * 50 * MEGA


def test_a_link_weaker_than_its_weight_does_not_attract_everybody() -> None:
    there = senders(40, 1)
    links = Links(End(WEIGHTS), CAPACITIES | {2: 2 * MEGA}, random.Random(1))
    links.run(there, 40)
    first, last = (Counter(sender.visits[place][1] for sender in there) for place in (0, -1))
    assert last[2] <= first[2] + 5
    assert moves(there, after=20) <= 2
    assert links.total > 0.9 * 72 * MEGA


def test_flows_follow_the_ranks_and_spread_again() -> None:
    there, end = senders(4, 2), End(WEIGHTS)
    links = run(1, there, end=end)
    end.set(1, State.DOWN, links.now)
    links.run(there, 8)
    links.run(there, 5)
    assert 1 not in {sender.visits[-1][1] for sender in there}
    assert links.total > 0.9 * 50 * MEGA
    end.set(1, State.UP, links.now)
    links.run(there, 8)
    links.run(there, 5)
    assert links.total > 0.9 * 100 * MEGA


def test_a_path_fails_in_the_middle_of_a_move() -> None:
    end = End(WEIGHTS)
    there = Sender(lone(end, 3))
    links = Links(end, CAPACITIES, random.Random(1))
    while len(there.visits) < 2:
        links.run([there], Links.STEP)
    end.set(1, State.SUSPECT, links.now)
    share = end.share(there.packet, links.now + 0.01)
    assert [path.number for path in share.paths][1:] == [1]
    assert share.paths[0].number in {2, 3}
    end.set(1, State.DOWN, links.now)
    links.run([there], 5)
    assert there.visits[-1][1] == 2


def test_a_policy_that_changes_is_followed() -> None:
    there, end = senders(2, 2), End(WEIGHTS)
    links = run(1, there, end=end)
    assert {sender.visits[-1][1] for sender in there} == {1, 2}
    specs = end.policy.paths
    end.spreader.configure(policy(*specs, classes=[TrafficClass("default", "failover")]), end.paths, links.now)
    links.run(there, 3)
    assert {sender.visits[-1][1] for sender in there} == {1}
    end.spreader.configure(policy(*specs[1:]), {2: end.paths[2], 3: end.paths[3]}, links.now)
    links.run(there, 8)
    assert {sender.visits[-1][1] for sender in there} == {2, 3}


def test_an_elephant_whose_class_is_gone_stays_until_it_is_sent_again() -> None:
    there = senders(2, 2)
    end = End(WEIGHTS, TrafficClass("other", "failover"), TrafficClass("default", "balanced"), rules=[Rule(1)])
    links = run(1, there, end=end, seconds=3)
    end.spreader.configure(policy(*end.policy.paths), end.paths, links.now)
    for tick in range(1, 8):
        end.spreader.fire(links.now + 0.25 * tick)
    links.run(there, 3)
    assert {sender.visits[-1][1] for sender in there} <= {1, 2, 3}


def test_classes_that_may_not_move_do_not() -> None:
    for one in (TrafficClass("default", "failover"), TrafficClass("default", "balanced", spray=True)):
        there = senders(3, 1)
        run(1, there, end=End(WEIGHTS, one))
        assert moves(there) == 0


def test_elephants_of_two_classes_make_room_for_each_other() -> None:
    bound = TrafficClass("bound", "priority", preferred=(1,))
    there = senders(1, 1, 45 * MEGA)
    end = End(WEIGHTS, TrafficClass("default", "balanced"), bound, rules=[Rule(1, frozenset({UDP}))])
    links = run(1, there, end=end)
    assert [sender.visits[-1][1] for sender in there] == [2, 1]
    assert links.total > 0.9 * 75 * MEGA


def test_nothing_is_due_without_traffic() -> None:
    end = End(WEIGHTS)
    links = run(1, senders(2, 1), end=end, seconds=1)
    now = links.now
    for _ in range(40):
        now = max(now, min(end.spreader.deadline(), now + 1))
        end.spreader.fire(now)
    assert end.spreader.deadline() == math.inf
    end.share(Packet(), now)
    assert end.spreader.deadline() == now + 0.25


class Given:
    """A rebalancer that is told the rates of flows instead of measuring them."""

    def __init__(self, weights: dict[int, float], *placed: tuple[int, float]) -> None:
        """Take the number of the path and the rate (Mbit/s) of each flow."""
        self.paths = {n: make_path(n) for n in weights}
        self.weights = {self.paths[n]: weight for n, weight in weights.items()}
        self.rebalancer = Rebalancer(lambda _flow: self.weights)
        self.flows = [FlowTable().flow(bytes(Packet(ports=(number, 1))), 0) for number in range(len(placed))]
        self.rates = [rate for _number, rate in placed]
        for flow, (number, _rate) in zip(self.flows, placed, strict=True):
            flow.path = self.paths[number]

    def run(self, seconds: int, meanwhile: Callable[[], None] = lambda: None) -> list[tuple[float, int, int]]:
        """Return times, flows and paths of moves."""
        moves = []
        for now in (tick / 4 for tick in range(4 * seconds)):
            meanwhile()
            for flow, rate in zip(self.flows, self.rates, strict=True):
                flow.octets, flow.last = int(rate * MEGA / 32), now
            self.rebalancer.measure(self.flows, 0.25)
            found = self.rebalancer.move(now)
            if found is not None:
                flow, flow.path = found
                moves.append((now, self.flows.index(flow), flow.path.number))
        return moves


@pytest.mark.parametrize(("there", "moves"), [(7.5, 1), (8.5, 0)])
def test_a_move_must_gain_a_tenth(there: float, moves: int) -> None:
    assert len(Given({1: 1, 2: 1}, (1, 10), (1, 10), (2, there)).run(10)) == moves


def test_times_between_moves_double() -> None:
    given = Given({1: 1, 2: 5}, (1, 20))

    def turn() -> None:
        given.weights = {path: 1 if path is given.flows[0].path else 5 for path in given.weights}

    assert [at for at, _flow, _number in given.run(40, turn)] == [0.5, 2.5, 6.5, 14.5, 30.5]


def test_a_move_away_does_not_disprove_one_that_came() -> None:
    given = Given({1: 1, 2: 0.001, 3: 9}, (1, 30), (1, 40))
    one, two = given.paths[1], given.paths[2]
    given.flows[0].settled = 100
    given.rebalancer._trials[one] = _Trial(given.flows[0], two, 60 * MEGA, 2.0)
    assert given.run(5) == [(0.5, 1, 3)]


def test_a_move_without_gain_is_taken_back_and_the_next_try_is_later_each_time() -> None:
    given = Given({1: 1, 2: 1}, (1, 10), (1, 10))

    def starve() -> None:
        given.rates = [10.0 if flow.path is given.paths[1] else 0.5 for flow in given.flows]

    found = [(at, number) for at, _flow, number in given.run(60, starve)]
    assert found == [(0.5, 2), (2.5, 1), (12.5, 2), (14.5, 1), (34.5, 2), (36.5, 1)]
