# SPDX-License-Identifier: GPL-3.0-or-later
"""Which paths a class uses, how flows are shared out among them, and how few of them move."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.multipath.health import State
from mpquic.core.multipath.policy import Scheduling, TrafficClass
from mpquic.core.multipath.scheduler import WAYS, Dealer, Plan, Tier
from mpquic.core.path import Path
from spreading import make_path, policy, spec

STATES = [State.UP, State.PROBATION, State.LOSSY, State.SUSPECT, State.DOWN]
_RANDOM = random.Random(1)
HASHES = [_RANDOM.getrandbits(64) for _ in range(4000)]


def plan(
    scheduling: Scheduling,
    states: dict[int, State],
    *,
    priorities: dict[int, int] | None = None,
    weights: dict[int, int] | None = None,
    links: dict[int, int] | None = None,
    fails: dict[int, int] | None = None,
    **fields: object,
) -> Plan:
    paths = {n: make_path(n, link=(links or {}).get(n), state=state) for n, state in states.items()}
    for n, count in (fails or {}).items():
        paths[n].health.fails = count  # type: ignore[union-attr]
    specs = [spec(path, (weights or {}).get(n, 1), (priorities or {}).get(n, 0)) for n, path in paths.items()]
    one = TrafficClass("default", scheduling, **fields)  # type: ignore[arg-type]
    return Plan(policy(*specs, classes=(one,)), one, paths)


def used(found: Plan) -> dict[int, float]:
    return {path.number: weight for path, weight in found.weights.items()}


UP = dict.fromkeys((1, 2, 3), State.UP)


def test_priority_uses_the_lowest_number_and_shares_among_equals() -> None:
    assert used(plan("priority", UP, priorities={1: 20, 2: 10, 3: 30})) == {2: 1}
    assert used(plan("priority", UP, priorities={1: 10, 2: 10, 3: 30}, weights={1: 3, 2: 2})) == {1: 3, 2: 2}
    assert used(plan("priority", UP | {2: State.DOWN}, priorities={1: 20, 2: 10, 3: 30})) == {1: 1}


def test_failover_uses_one_link() -> None:
    assert used(plan("failover", UP, priorities={1: 20, 2: 10, 3: 10}, weights={2: 1, 3: 2})) == {3: 2}
    assert used(plan("failover", UP, fails={1: 1})) == {2: 1}
    assert used(plan("failover", UP)) == {1: 1}
    # Two connections of the best link are used both, and its second one though it failed of late.
    assert used(plan("failover", UP, links={1: 1, 2: 2, 3: 1}, weights={1: 4, 2: 4, 3: 4}, fails={3: 1})) == {
        1: pytest.approx(8 / 3),
        3: pytest.approx(4 / 3),
    }


def test_balanced_uses_all_whatever_their_priority() -> None:
    assert used(plan("balanced", UP, priorities={1: 20, 2: 10}, weights={1: 5, 2: 3, 3: 2})) == {1: 5, 2: 3, 3: 2}


@pytest.mark.parametrize("scheduling", ["priority", "failover", "balanced"])
def test_the_best_rank_decides(scheduling: Scheduling) -> None:
    for better, worse in pairwise(STATES):
        states = {1: worse, 2: better, 3: worse}
        assert used(plan(scheduling, states, priorities={2: 99})) == {2: 1}
    assert used(plan(scheduling, dict.fromkeys(UP, State.DOWN))) == {}


def test_failures_weaken_a_path() -> None:
    assert used(plan("balanced", UP, weights={1: 6, 2: 6, 3: 6}, fails={1: 1, 2: 2})) == {1: 3, 2: 2, 3: 6}


def test_connections_share_the_weight_of_their_link() -> None:
    found = plan("balanced", UP, links={1: 7, 2: 7, 3: 8}, weights={1: 4, 2: 4, 3: 2})
    assert used(found) == {1: 2, 2: 2, 3: 2}
    shares = Counter(found.choose(value).number for value in HASHES)  # type: ignore[union-attr]
    assert shares[3] / len(HASHES) == pytest.approx(1 / 3, rel=0.1)
    assert shares[1] / shares[2] == pytest.approx(1, rel=0.1)


def test_excluded_paths_are_never_used() -> None:
    assert used(plan("balanced", UP, excluded=(1, 3))) == {2: 1}
    assert used(plan("balanced", UP | {2: State.DOWN}, excluded=(1, 3))) == {}


def test_preferred_paths_are_used_while_one_is_good() -> None:
    preferred: dict[str, object] = {"preferred": (2, 3)}
    assert used(plan("balanced", UP, **preferred)) == {2: 1, 3: 1}
    assert used(plan("balanced", UP | {2: State.PROBATION, 3: State.DOWN}, **preferred)) == {2: 1}
    for bad in (State.LOSSY, State.SUSPECT, State.DOWN):
        assert used(plan("balanced", UP | {2: bad, 3: bad}, **preferred)) == {1: 1}
    # Where none is good the best counts, and being preferred among equals.
    bad_all = {1: State.LOSSY, 2: State.LOSSY, 3: State.SUSPECT}
    assert used(plan("balanced", bad_all, **preferred)) == {2: 1}
    assert used(plan("balanced", bad_all | {2: State.SUSPECT}, **preferred)) == {1: 1}


def copies(found: Plan, value: int = 1) -> list[int]:
    path = found.choose(value)
    assert path is not None
    return [each.number for each in found.with_copies(value, path)]


def test_copies_go_by_other_links_the_best_first() -> None:
    four = dict.fromkeys((1, 2, 3, 4), State.UP)
    order = {1: 10, 2: 20, 3: 30, 4: 40}
    assert copies(plan("priority", four, priorities=order, copies=3)) == [1, 2, 3]
    assert copies(plan("priority", four, priorities=order, copies=2, links={1: 5, 2: 5, 3: 6})) == [1, 3]
    assert copies(plan("failover", four, priorities=order, copies=2, links={1: 5, 2: 5, 3: 6}))[1] == 3
    assert copies(plan("priority", four | {2: State.LOSSY}, priorities=order, copies=2)) == [1, 3]
    assert copies(plan("priority", {1: State.UP, 2: State.LOSSY}, priorities=order, copies=2)) == [1, 2]
    assert copies(plan("priority", four, priorities=order, copies=2, excluded=(2,))) == [1, 3]
    assert copies(plan("priority", four, priorities=order, copies=2, preferred=(3,))) == [3, 1]
    assert copies(plan("priority", {1: State.UP, 2: State.DOWN}, copies=3)) == [1]


def test_copies_of_balanced_flows_are_spread_as_well() -> None:
    found = plan("balanced", UP, copies=2)
    pairs = Counter(tuple(copies(found, value)) for value in HASHES)
    assert len(pairs) == 6
    assert min(pairs.values()) > 0.8 * len(HASHES) / 6


WEIGHTS = st.dictionaries(st.integers(1, 16), st.integers(1, 9), min_size=2, max_size=16)


@given(WEIGHTS, st.data())
def test_only_flows_of_a_path_that_goes_move(weights: dict[int, int], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(weights)))
    paths = {n: make_path(n) for n in weights}
    whole = Tier([(paths[n], float(weight)) for n, weight in weights.items()])
    rest = Tier([(paths[n], float(weight)) for n, weight in weights.items() if n != gone])
    for value in HASHES[:200]:
        before, after = whole.choose(value), rest.choose(value)
        assert before is not None
        assert after is not None
        assert after is before if before.number != gone else after.number != gone


@given(st.dictionaries(st.integers(1, 12), st.integers(1, 3), min_size=2, max_size=12), st.data())
def test_only_flows_of_a_connection_that_goes_move(links: dict[int, int], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(links)))
    paths = {n: make_path(n, link=link) for n, link in links.items()}
    whole = Tier([(path, 1.0) for path in paths.values()])
    rest = Tier([(path, 1.0) for path in paths.values() if path.number != gone])
    siblings = {n for n, link in links.items() if link == links[gone] and n != gone}
    for value in HASHES[:200]:
        before, after = whole.choose(value), rest.choose(value)
        assert before is not None
        assert after is not None
        if before.number != gone:
            assert after is before
        elif siblings:
            assert after.number in siblings


def test_a_path_that_comes_takes_its_part_of_each_of_the_others() -> None:
    weights = {1: 5.0, 2: 3.0, 3: 2.0}
    paths = {n: make_path(n) for n in (1, 2, 3, 4)}
    before = Tier([(paths[n], weight) for n, weight in weights.items()])
    after = Tier([*before.weights.items(), (paths[4], 5.0)])
    total, moved = Counter[int](), Counter[int]()
    for value in HASHES:
        first, second = before.choose(value), after.choose(value)
        assert first is not None
        total[first.number] += 1
        if second is not first:
            assert second is paths[4]
            moved[first.number] += 1
    assert all(moved[n] / total[n] == pytest.approx(1 / 3, rel=0.15) for n in weights)


@pytest.mark.parametrize(
    "weights", [{1: 5, 2: 3, 3: 2}, {1: 3, 2: 2, 3: 1}, {1: 1, 2: 1}, {n: n for n in range(1, 17)}]
)
def test_shares_follow_the_weights(weights: dict[int, int]) -> None:
    tier = Tier([(make_path(n), float(weight)) for n, weight in weights.items()])
    values = random.Random(2)
    counts = Counter(tier.choose(values.getrandbits(64)).number for _ in range(20000))  # type: ignore[union-attr]
    for n, weight in weights.items():
        assert counts[n] / 20000 == pytest.approx(weight / sum(weights.values()), rel=0.12)


def assigned(tier: Tier, value: int) -> Path:
    choice = tier.choose(value)
    assert choice is not None
    return tier.assign(value, choice)


@given(st.dictionaries(st.integers(1, 12), st.integers(1, 9), min_size=2, max_size=12), st.integers(0, 3))
def test_new_flows_are_given_by_the_weights_at_any_time(weights: dict[int, int], shared: int) -> None:
    paths = {n: make_path(n, link=max(n, shared)) for n in weights}
    tier = Tier([(paths[n], float(weight)) for n, weight in weights.items()])
    total = sum(tier.weights.values())
    counts = Counter[Path | None]()
    for number, value in enumerate(HASHES[:1200], 1):
        counts[assigned(tier, value)] += 1
        if number in {10, 60, 400}:
            assert all(counts[path] < number * weight / total + 3 for path, weight in tier.weights.items())
    for path, weight in tier.weights.items():
        assert abs(counts[path] - 1200 * weight / total) < 5 * len(weights)


def test_most_new_flows_get_what_their_hash_says() -> None:
    tier = Tier([(make_path(n), weight) for n, weight in ((1, 5.0), (2, 3.0), (3, 2.0))])
    assert sum(assigned(tier, value) is tier.choose(value) for value in HASHES) > 0.75 * len(HASHES)


def test_both_ends_choose_alike() -> None:
    mine, theirs = (
        [(make_path(n, link=n % 3), w) for n, w in pairs] for pairs in ([(1, 2.0), (2, 1.0), (4, 3.0)],) * 2
    )
    here, there = Tier(mine), Tier(reversed(theirs))
    assert all(here.choose(v).number == there.choose(v).number for v in HASHES)  # type: ignore[union-attr]


def test_flows_share_ways_and_there_are_not_too_many() -> None:
    """Of 24 paths with two copies each there are twelve thousand ways."""
    found = plan("balanced", dict.fromkeys(range(1, 25), State.UP), copies=3)
    for value in HASHES:
        path = found.choose(value)
        assert path is not None
        paths = found.with_copies(value, path)
        way = found.way(0, paths, ordered=False)
        assert (way.paths, way.ordered) == (paths, False)
        assert found.way(0, paths, ordered=False) is way
        assert found.way(0, paths, ordered=True) is not way
        assert len(found._ways) <= WAYS


@given(WEIGHTS, st.integers(0, 1 << 32))
def test_spray_follows_the_weights_by_bytes(weights: dict[int, int], seed: int) -> None:
    chance = random.Random(seed)
    sizes = [chance.randint(40, 1500) for _ in range(3000)]
    paths = {n: make_path(n) for n in weights}
    dealer = Dealer({paths[n]: float(weight) for n, weight in weights.items()})
    half = len(sizes) // 2
    octets = Counter[int]()
    for path, size in zip(dealer.deal(sizes[:half]) + dealer.deal(sizes[half:]), sizes, strict=True):
        octets[path.number] += size
    for n, weight in weights.items():
        assert abs(octets[n] - sum(sizes) * weight / sum(weights.values())) < 3 * 6000
