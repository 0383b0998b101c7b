# SPDX-License-Identifier: GPL-3.0-or-later
"""Where packets go, through all changes of their paths and of the policy."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.multipath.health import State
from mpquic.core.multipath.policy import Rule, Scheduling, TrafficClass
from packets import UDP, Packet
from spreading import End, Sent, Timed, flows, make_path, policy, spec

if TYPE_CHECKING:
    from mpquic.core.path import Path

BACK = Packet(source="10.81.2.2", target="10.81.1.2", ports=(443, 40000))
ICMP = 1


def dealt_out(sent: Sent, sizes: list[int]) -> list[Path]:
    """Return the paths of packets of a sprayed class."""
    assert sent.way.dealer is not None
    return sent.way.dealer.deal(sizes)


def test_reads_are_gathered_by_flow_in_order() -> None:
    end = End({1: 1, 2: 1})
    first, second = Packet(), Packet(ports=(40001, 443))
    reads = [bytes(10) + bytes(replace(each, body=body)) for each, body in
             ((first, b"1"), (second, b"2"), (first, b"3"), (first, b"4"), (second, b"5"))]  # fmt: skip
    shares = end.spreader.spread(reads, 10, 1.0)
    assert [read[-1:] for share in shares for read in share.reads] == [b"1", b"3", b"4", b"2", b"5"]
    found = [share.buckets.count(end.share(each, 1.0).flow.bucket) for share in shares for each in (first, second)]
    assert sorted(found)[-2:] == [2, 3]
    assert [share.reads for share in end.spreader.spread(reads[:1], 10, 1.0)] == [reads[:1]]


def test_without_a_path_there_is_none() -> None:
    end = End({1: 1})
    end.set(1, State.DOWN, 1.0)
    assert end.numbers(Packet(), 1.0) == ()
    end.set(1, State.UP, 2.0)
    assert end.numbers(Packet(), 2.0) == (1,)


@pytest.mark.parametrize("scheduling", ["priority", "balanced"])
def test_weights_of_equals_share_the_load(scheduling: Scheduling) -> None:
    end = End({1: 3, 2: 2, 3: 1}, TrafficClass("default", scheduling))
    shares = Counter(end.places(flows(600), 1.0).values())
    assert shares[1] > shares[2] > shares[3] > 0


def test_shares_of_500_flows_follow_the_weights() -> None:
    weights = {1: 5, 2: 3, 3: 2}
    for network in range(20):
        end = End(weights)
        shares = Counter(end.places(flows(500, source=f"10.81.{network}.2", protocol=UDP), 1.0).values())
        for number, weight in weights.items():
            assert shares[number] / 500 == pytest.approx(weight / 10, rel=0.05)


def test_few_flows_are_shared_out_as_well() -> None:
    for network in range(50):
        end = End({1: 3, 2: 2, 3: 1})
        shares = Counter(end.places(flows(12, source=f"10.81.{network}.2"), 1.0).values())
        assert [shares[number] <= 2 * weight + 2 for number, weight in ((1, 3), (2, 2), (3, 1))] == [True] * 3


def test_the_server_uses_the_path_of_a_flow_that_the_client_does() -> None:
    client, server = End({1: 5, 2: 3, 3: 2}), End({1: 5, 2: 3, 3: 2}, turned=True)
    for packet in flows(300):
        answer = replace(packet, source=packet.target, target=packet.source, ports=packet.ports[::-1])
        share = client.share(packet, 1.0)
        server.hear(bytes(packet), share.flow.class_index, share.paths[0].number, 1.0)
        assert server.numbers(answer, 1.0) == (share.paths[0].number,)


def test_a_path_that_comes_late_takes_its_part() -> None:
    end = End({1: 2, 2: 2, 3: 4})
    end.set(3, State.DOWN, 0.0)
    packets = flows(400)
    before = end.places(packets, 1.0)
    assert Counter(before.values())[1] == pytest.approx(200, abs=5)
    end.set(3, State.UP, 2.0)
    after = end.places(packets, 2.0)
    moved = [packet for packet in packets if after[packet] != before[packet]]
    assert {after[packet] for packet in moved} == {3}
    assert len(moved) == pytest.approx(200, rel=0.15)
    assert Counter(before[packet] for packet in moved)[1] == pytest.approx(len(moved) / 2, rel=0.2)
    # It goes and comes: its flows leave and come back, no other moves.
    end.set(3, State.DOWN, 3.0)
    between = end.places(packets, 3.0)
    assert all(between[packet] == after[packet] for packet in packets if after[packet] != 3)
    end.set(3, State.UP, 4.0)
    assert end.places(packets, 4.0) == after


def test_a_path_that_fails_loses_its_flows_at_once_and_no_other_moves() -> None:
    end = End({1: 1, 2: 1, 3: 1})
    packets = flows(100)
    before = end.places(packets, 1.0)
    end.set(2, State.DOWN, 1.01)
    shares = {packet: end.share(packet, 1.02) for packet in packets}
    for packet, share in shares.items():
        number = share.paths[0].number
        assert number == before[packet] if before[packet] != 2 else number in {1, 3}
        assert not share.ordered
    end.set(2, State.UP, 9.0)
    assert end.places(packets, 9.0) == before


def test_a_flow_that_passed_over_its_path_stays_where_it_is() -> None:
    # Of 100 flows some are not where their hash says, for that had been ahead of its part. When it goes they stay.
    end = End({1: 1, 2: 1, 3: 1})
    packets = flows(100)
    before = end.places(packets, 1.0)
    odd = [packet for packet in packets if (flow := end.share(packet, 1.0).flow).home is not flow.chosen]
    assert odd
    for gone in (1, 2, 3):
        end.set(gone, State.DOWN, 2.0)
        after = end.places(packets, 2.0)
        assert all(after[packet] == before[packet] for packet in packets if before[packet] != gone)
        end.set(gone, State.UP, 3.0)
        assert end.places(packets, 3.0) == before


def test_a_flow_in_use_is_not_forgotten() -> None:
    end = End({1: 1})
    kept = end.share(Packet(), 1.0).flow
    for packet in flows(6000, source="10.81.1.3"):
        end.share(packet, 1.0)
        assert end.share(Packet(), 1.0).flow is kept


def test_the_return_to_a_better_path_is_ordered_for_a_while() -> None:
    end = End({1: 1, 2: 1}, TrafficClass("default", "priority"), priorities={1: 10, 2: 20})
    end.set(1, State.DOWN, 0.0)
    for now in (1.0, 1.5):
        share = end.share(Packet(), now)
        assert (share.paths[0].number, share.ordered) == (2, False)
    end.set(1, State.PROBATION, 1.51)
    assert end.numbers(Packet(), 1.52) == (2,)
    end.set(1, State.UP, 1.6)
    # Paths of 20 and 40 ms: 50 ms are enough.
    found = [(end.share(Packet(), now).paths[0].number, end.share(Packet(), now).ordered) for now in (1.61, 1.65, 1.67)]
    assert found == [(1, True), (1, True), (1, False)]


def test_the_order_is_kept_for_longer_between_unequal_paths() -> None:
    end = End({1: 1, 2: 1}, TrafficClass("default", "priority"), priorities={1: 10, 2: 20})
    slow = Timed(end.paths[2].connection.clock)  # type: ignore[union-attr]
    slow.clock.srtt = 0.62
    end.set(1, State.DOWN, 0.0)
    end.share(Packet(), 1.0)
    end.set(1, State.UP, 1.0)
    # 1.25 times the 600 ms by which they differ.
    assert [end.share(Packet(), now).ordered for now in (1.01, 1.75, 1.77)] == [True, True, False]


def test_a_flow_with_nothing_under_way_needs_no_order() -> None:
    end = End({1: 1, 2: 1}, TrafficClass("default", "priority"), priorities={1: 10, 2: 20})
    end.set(1, State.DOWN, 0.0)
    end.share(Packet(), 1.0)
    end.set(1, State.UP, 1.1)
    assert not end.share(Packet(), 1.3).ordered


def test_a_lossy_path_is_left_without_order() -> None:
    end = End({1: 1, 2: 1}, TrafficClass("default", "priority"), priorities={1: 10, 2: 20})
    end.share(Packet(), 1.0)
    end.set(1, State.LOSSY, 1.0)
    share = end.share(Packet(), 1.01)
    assert ([path.number for path in share.paths], share.ordered) == ([2], False)


def test_a_suspected_path_gets_copies_for_a_second() -> None:
    end = End({1: 1, 2: 1}, TrafficClass("default", "priority"), priorities={1: 10, 2: 20})
    assert end.numbers(Packet(), 1.0) == (1,)
    end.set(1, State.SUSPECT, 1.1)
    late = Packet(ports=(1, 1))
    assert [end.numbers(Packet(), now) for now in (1.11, 1.5, 2.09, 2.11, 3.0)] == [(2, 1), (2, 1), (2, 1), (2,), (2,)]
    # A flow that was never there needs none.
    assert end.numbers(late, 1.2) == (2,)


def test_a_suspected_path_gets_no_copies_of_a_sprayed_class() -> None:
    end = End({1: 1, 2: 1}, TrafficClass("default", "priority", spray=True))
    before = {packet: end.numbers(packet, 1.0) for packet in flows(8)}
    assert set(before.values()) == {(1,), (2,)}
    end.set(1, State.SUSPECT, 1.1)
    assert {end.numbers(packet, 1.2) for packet in before} == {(2,)}


@pytest.mark.parametrize("state", [State.DOWN, State.PROBATION, State.UP])
def test_copies_end_with_the_suspicion(state: State) -> None:
    end = End({1: 1, 2: 1, 3: 1}, TrafficClass("default", "priority"), priorities={1: 10, 2: 20, 3: 30})
    end.share(Packet(), 1.0)
    end.set(1, State.SUSPECT, 1.1)
    # Another change in between does not end them.
    end.set(3, State.DOWN, 1.15)
    assert end.numbers(Packet(), 1.2) == (2, 1)
    end.set(1, state, 1.3)
    assert end.numbers(Packet(), 1.4) == ((1,) if state is State.UP else (2,))
    # Suspected again, it has none of this flow unless the flow was back.
    end.set(1, State.SUSPECT, 1.5)
    assert end.numbers(Packet(), 1.6) == ((2, 1) if state is State.UP else (2,))


def test_the_only_path_is_used_though_suspected() -> None:
    end = End({1: 1, 2: 1})
    end.set(2, State.DOWN, 1.0)
    end.set(1, State.SUSPECT, 1.0)
    assert end.numbers(Packet(), 1.1) == (1,)


def test_copies_of_a_class() -> None:
    critical = TrafficClass("critical", "failover", copies=2)
    end = End({1: 1, 2: 1, 3: 1}, TrafficClass("default", "failover"), critical, rules=[Rule(1, frozenset({UDP}))])
    assert end.numbers(Packet(), 1.0) == (1,)
    assert end.numbers(Packet(protocol=UDP), 1.0) == (1, 2)
    end.set(1, State.SUSPECT, 1.1)
    assert end.numbers(Packet(protocol=UDP), 1.2) == (2, 3, 1)
    end.set(1, State.DOWN, 1.3)
    assert end.numbers(Packet(protocol=UDP), 1.4) == (2, 3)
    end.set(3, State.DOWN, 1.5)
    assert end.numbers(Packet(protocol=UDP), 1.6) == (2,)


def test_a_sprayed_class_uses_all_paths_in_order() -> None:
    end = End({1: 2, 2: 1}, TrafficClass("default", "balanced", spray=True))
    share = end.share(Packet(), 1.0)
    assert share.ordered
    assert len(share.paths) == 1
    dealt = Counter(path.number for path in dealt_out(share, [1000] * 300))
    assert dealt[1] == pytest.approx(200, abs=10)
    end.set(1, State.DOWN, 2.0)
    share = end.share(Packet(), 2.0)
    # What is under way may still be overtaken; later nothing can be.
    assert share.ordered
    assert {path.number for path in dealt_out(share, [1000] * 9)} == {2}
    assert [end.share(Packet(), now).ordered for now in (2.04, 2.06, 3.0)] == [True, False, False]
    end.set(1, State.UP, 4.0)
    assert end.share(Packet(), 4.1).ordered


V6 = {"source": "2001:db8::2", "target": "2001:db8::3"}


@pytest.mark.parametrize(
    "one",
    [
        TrafficClass("default", "balanced"),
        TrafficClass("default", "priority", preferred=(2,)),
        TrafficClass("default", "failover", copies=2),
        TrafficClass("default", "balanced", spray=True),
    ],
)
def test_ipv6_passes_over_narrow_paths_while_there_is_another(one: TrafficClass) -> None:
    end = End({1: 1, 2: 9, 3: 1}, one, priorities={2: 0, 1: 10, 3: 10})
    six, four = flows(40, **V6), flows(40)

    def used(packets: list[Packet], now: float) -> set[int]:
        found = set()
        for packet in packets:
            share = end.share(packet, now)
            dealt = dealt_out(share, [6000] * 20) if one.spray else share.paths
            found |= {path.number for path in dealt}
        return found

    before = used(six, 1.0), used(four, 1.0)
    assert before[0] == before[1] >= {2}
    # It shows while flows live.
    end.paths[2].lane.narrow = True
    assert not used(six, 1.1) & {2}
    assert used(four, 1.1) == before[1]
    # The only one left that is not narrow, however bad.
    end.set(1, State.DOWN, 1.2)
    end.set(3, State.SUSPECT, 1.2)
    assert used(six, 1.3) == {3}
    # None left: it is for the narrow path to say so.
    end.set(3, State.DOWN, 1.4)
    assert used(six, 1.5) == {2}
    end.set(1, State.UP, 1.6)
    end.paths[1].lane.narrow = True
    assert used(six, 1.7) == used(four, 1.7)
    end.set(3, State.UP, 1.8)
    for number in (1, 2):
        end.paths[number].lane.narrow = False
    assert (used(six, 9.0), used(four, 9.0)) == before


def test_a_path_that_the_class_may_not_use_is_none_for_ipv6() -> None:
    end = End({1: 1, 2: 1}, TrafficClass("default", "balanced", excluded=(2,)))
    end.paths[1].lane.narrow = True
    assert end.numbers(Packet(**V6), 1.0) == (1,)


def test_the_answer_avoids_a_path_that_is_narrow_this_way_only() -> None:
    end = End({1: 1, 2: 1}, TrafficClass("default", "failover"), turned=True)
    ask = Packet(**V6)
    end.hear(bytes(ask), 0, 1, 1.0)
    answer = replace(ask, source=ask.target, target=ask.source, ports=ask.ports[::-1])
    assert end.numbers(answer, 1.0) == (1,)
    end.paths[1].lane.narrow = True
    assert end.numbers(answer, 1.1) == (2,)


def test_a_policy_may_change_while_flows_live() -> None:
    end = End({1: 1, 2: 1, 3: 1})
    packets = flows(200)
    before = end.places(packets, 1.0)
    specs = end.policy.paths
    # The same again, and a class that nobody is of: nothing moves.
    other = TrafficClass("other", "failover", preferred=(3,))
    end.spreader.configure(policy(*specs, classes=(*end.policy.classes, other)), end.paths, 1.1)
    assert end.places(packets, 1.2) == before
    # A rule for half of them.
    rule = Rule(1, source_ports=((1024, 1123),))
    end.spreader.configure(policy(*specs, classes=(*end.policy.classes, other), rules=[rule]), end.paths, 1.3)
    after = end.places(packets, 1.4)
    assert [end.share(packet, 1.4).flow.class_index for packet in packets] == [1] * 100 + [0] * 100
    assert all(after[packet] == (3 if place < 100 else before[packet]) for place, packet in enumerate(packets))
    # A path goes, another comes under the number.
    new = make_path(2)
    end.spreader.configure(policy(specs[0], spec(new)), {1: end.paths[1], 2: new}, 1.5)
    for packet in packets:
        share = end.share(packet, 1.6)
        assert share.flow.class_index == 0
        assert share.paths[0] in {end.paths[1], new}


def test_garbage_goes_somewhere() -> None:
    end = End({1: 1})
    reads = [b"", b"\x45", bytes(100), b"\xff" * 9, b"\x60" + bytes(20), b"\x45" + bytes(19)]
    shares = end.spreader.spread(reads, 10, 1.0)
    assert sum(len(share.reads) for share in shares) == len(reads)


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(list(State)), st.floats(0.001, 2), st.integers(0, 6)), max_size=40
    ),
    st.sampled_from(["priority", "failover", "balanced"]),
    st.integers(1, 3),
    st.booleans(),
)
def test_whatever_happens_packets_go_where_they_may(changes, scheduling, copies, spray) -> None:
    one = TrafficClass("default", scheduling, excluded=(4,), preferred=(2,), copies=copies, spray=spray)
    end = End({1: 1, 2: 2, 3: 3, 4: 4}, one, links={1: 1, 2: 2, 3: 2, 4: 4}, priorities={1: 1})
    now, packets = 1.0, flows(5)
    for number, state, wait, fails in changes:
        end.set(number, state, now, fails=fails)
        now += wait
        if now >= end.spreader.deadline():
            end.spreader.fire(now)
        alive = {n: path for n, path in end.paths.items() if n != 4 and path.health.rank < 4}  # type: ignore[union-attr]
        best = min((path.health.rank for path in alive.values()), default=4)  # type: ignore[union-attr]
        for packet in packets:
            share = end.share(packet, now)
            used = list(share.paths)
            assert bool(used) == bool(alive)
            assert set(used) <= set(alive.values())
            assert len(set(used)) == len(used)
            if used:
                rank = used[0].health.rank  # type: ignore[union-attr]
                assert rank == best or (used[0].number == 2 and rank <= 1)
                clean = [path for path in used if path is not share.flow.shadow]
                assert len({path.link for path in clean}) == len(clean)
                assert len(clean) == min(1 if spray else copies, len({path.link for path in alive.values()}))
                dealt = dealt_out(share, [100] * 20) if spray else []
                assert set(dealt) <= set(alive.values())
