# SPDX-License-Identifier: GPL-3.0-or-later
"""Several connections that are one tunnel, as the server sees it: who joins, who is replaced, and who gets what."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from joiner import FIRST, OTHER_PREFIXES, SECOND, Place, numbered, policy
from mpquic.core import messages, wire
from mpquic.core.guest import DEADLINE
from mpquic.core.messages import Confirm, Hello, Join, PolicyUpdate, Register, Registered
from mpquic.core.multipath import policy_wire, report
from mpquic.core.multipath.health import State
from mpquic.core.multipath.policy import Rule, TrafficClass
from mpquic.core.queue import CAPACITY_OCTETS
from mpquic.core.registration import MAX_CONTROL
from mpquic.core.roster import Roster
from mpquic.core.session import MAX_POLICIES
from simulation import PREFIXES, packet

if TYPE_CHECKING:
    from pathlib import Path

    from joiner import Joiner
    from mpquic.core.messages import Message
    from mpquic.core.session import Session

BALANCED = (TrafficClass("default", "balanced"),)
TWICE = (TrafficClass("default", "balanced", copies=2),)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def session(place: Place, name: str = "client1") -> Session:
    return place.server.sessions[name]


def turned(number: int, size: int = 84) -> bytes:
    """Return a packet to the first client."""
    return packet(number, size, source="203.0.113.77", destination="10.200.1.1")


def flows(count: int) -> list[bytes]:
    """Return packets of flows of their own to the first client."""
    return [packet(number, source=f"203.0.113.{number}", destination="10.200.1.1") for number in range(1, count + 1)]


# --- joining ----------------------------------------------------------------------------------------------------------


def test_two_paths_are_one_tunnel(place: Place) -> None:
    first = place.path(1, policy(1, 2))
    assert place.server.state == "up"
    second = place.path(2, policy(1, 2))
    assert first.joined is not None
    assert second.joined is not None
    assert first.joined.epoch == second.joined.epoch
    assert first.joined.prefixes == PREFIXES
    assert session(place).paths.keys() == session(place).guests.keys() == {1, 2}
    assert (session(place).connects, place.server.connects) == (2, 2)
    first.send(*numbered([packet(1), packet(2)], 0))
    second.send(*numbered([packet(2), packet(3)], 1))
    assert place.took() == [packet(1), packet(2), packet(3)]
    assert session(place).counters.rx_packets == 3
    assert [path.counters.rx_packets for path in session(place).paths.values()] == [2, 2]
    place.down(turned(1))
    assert (first.packets(), second.packets()) == ([turned(1)], [])
    assert [text for text in place.states("server") if text.startswith("up")] == ["up: connected"]
    assert place.states("server").count("path up: connected") == 2
    assert "peer=client1 name=wan2" in place.details("server")


def test_sixteen_paths_carry_a_share_each(place: Place) -> None:
    wanted = policy(*range(1, 17), classes=BALANCED)
    wanted = replace(wanted, paths=tuple(replace(spec, priority=0) for spec in wanted.paths))
    joiners = [place.path(number, wanted) for number in range(1, 17)]
    assert len({joiner.joined.epoch for joiner in joiners if joiner.joined is not None}) == 1
    place.run(3.0)
    place.down(*flows(250))
    shares = [joiner.packets() for joiner in joiners]
    assert sorted(itertools.chain.from_iterable(shares)) == sorted(flows(250))
    assert all(shares)
    for number, joiner in enumerate(joiners):
        joiner.send(*numbered([packet(number)], number))
    assert place.took() == [packet(number) for number in range(16)]
    assert place.server.state == "up"


def test_paths_that_join_at_once_get_one_epoch(place: Place) -> None:
    joiners = [place.call_in() for _ in range(3)]
    for number, joiner in enumerate(joiners, 1):
        joiner.join(number, policy(1, 2, 3))
    assert len({joiner.joined.epoch for joiner in joiners if joiner.joined is not None}) == 1
    assert not session(place).guests
    for joiner in reversed(joiners):
        joiner.confirm()
    assert session(place).guests.keys() == {1, 2, 3}


def test_nothing_is_kept_of_those_that_only_ask(place: Place) -> None:
    epochs = set()
    for number in range(3):
        joiner = place.call_in()
        joiner.join(1, policy(1), session=bytes([number]) * 16)
        assert joiner.joined is not None
        epochs.add(joiner.joined.epoch)
        joiner.send(*numbered([packet(1)], 0))
    assert len(epochs) == 3
    assert place.took() == []
    assert place.server.counters.drops["not_registered"] == 3
    assert session(place).bundle is None
    assert len(session(place)._gatherings) == 3
    place.run(DEADLINE)
    assert len(session(place)._gatherings) == 0


def test_packets_before_confirm_are_taken_beside_a_path_that_is_up(place: Place) -> None:
    place.path(1, policy(1, 2))
    second = place.call_in()
    second.join(2, policy(1, 2))
    second.send(*numbered([packet(1)], 0))
    assert place.took() == [packet(1)]
    place.down(turned(1))
    assert second.packets() == []


@pytest.mark.parametrize(
    ("key", "prefixes", "code", "why"),
    [
        ("c", PREFIXES, messages.NOT_A_PEER, "is no peer here"),
        ("b", PREFIXES, messages.NOT_ALLOWED, "10.200.1.1 is not an address of this key's peer here"),
        ("a", OTHER_PREFIXES, messages.NOT_ALLOWED, "10.200.2.1 is not an address of this key's peer here"),
        ("a", (*PREFIXES, OTHER_PREFIXES[1]), messages.NOT_ALLOWED, "172.16.2.0/30 is not within the prefixes of"),
        ("a", PREFIXES[1:], messages.MALFORMED, "JOIN: first prefix: found 172.16.1.0/30, expected a single address"),
    ],
)
def test_a_path_is_for_its_key_alone(place: Place, key: str, prefixes: tuple[object, ...], code: int, why: str) -> None:
    """Whatever session id it says: one that is up here, of which somebody may have learnt."""
    first = place.path(1, policy(1, 2))
    intruder = place.call_in(key)
    intruder.join(2, policy(1, 2), prefixes=prefixes)  # type: ignore[arg-type]
    assert intruder.refused is not None
    assert (intruder.refused.code, why in intruder.refused.reason) == (code, True)
    intruder.send(*numbered([packet(9)], 5))
    assert place.took() == []
    assert session(place).guests.keys() == {1}
    place.run(2.0)
    assert intruder.closed is not None
    assert first.closed is None


def test_members_never_share_what_they_join(place: Place) -> None:
    mine = place.path(1, policy(1, 2))
    other = place.path(2, policy(1, 2), key="b", prefixes=OTHER_PREFIXES)
    assert mine.joined is not None
    assert other.joined is not None
    assert mine.joined.epoch != other.joined.epoch
    assert session(place).bundle is not session(place, "client2").bundle
    assert session(place).guests.keys() == {1}
    other.send(*numbered([packet(1)], 0))
    assert place.took() == []
    assert session(place, "client2").counters.drops == {"source": 1}
    theirs = packet(1, destination="10.200.2.1")
    place.down(turned(1), theirs)
    assert (mine.packets(), other.packets()) == ([turned(1)], [theirs])


@pytest.mark.parametrize(
    ("path", "wanted", "why"),
    [
        (0, policy(1), "path: found 0, expected 1 to 255"),
        (256, policy(1), "path: found 256, expected 1 to 255"),
        (2, policy(1), "JOIN: path: found 2, expected the number of a path of its policy"),
        (1, b"", "policy: generation: found the end, expected an integer"),
        (1, bytes(8193), "policy length: found 8193, expected 0 to 8192"),
        (1, replace(policy(1), classes=()), "policy: number of classes: found 0, expected 1 to 16"),
    ],
)
def test_what_is_malformed_is_refused_with_a_reason(place: Place, path: int, wanted: object, why: str) -> None:
    joiner = place.call_in()
    joiner.join(path, wanted)  # type: ignore[arg-type]
    assert joiner.refused is not None
    assert (joiner.refused.code, why in joiner.refused.reason) == (messages.MALFORMED, True)
    assert any(why in text for text in place.states("server"))


def test_a_client_of_version_1_does_not_join(place: Place) -> None:
    joiner = place.call_in()
    joiner.join(1, policy(1), hello=Hello(1, 1).encode())
    assert joiner.refused is not None
    assert (joiner.refused.code, joiner.refused.reason) == (messages.MALFORMED, "JOIN: found version 1, expected 2")


@pytest.mark.parametrize("what", ["join", "register", "update", "confirm"])
def test_words_out_of_order_end_the_connection(place: Place, what: str) -> None:
    first = place.path(1, policy(1, 2))
    second = place.call_in()
    second.join(2, policy(1, 2))
    if what == "update":
        second.update(policy(1, generation=2))
    else:
        words: dict[str, Message] = {
            "join": Join(second.id, FIRST, 2, PREFIXES, policy_wire.encode(policy(1, 2))),
            "register": Register(second.id, 0, PREFIXES),
            "confirm": Confirm(bytes(16)),
        }
        second.link.control(words[what].encode())
        place.run(0.1)
    assert second.closed is not None
    assert first.closed is None
    assert session(place).guests.keys() == {1}


# --- taking over ------------------------------------------------------------------------------------------------------


def test_a_path_is_replaced_when_the_new_connection_is_confirmed(place: Place) -> None:
    old, other = place.path(1, policy(1, 2)), place.path(2, policy(1, 2))
    new = place.call_in()
    new.join(1, policy(1, 2))
    place.down(turned(1))
    assert (old.packets(), new.packets()) == ([turned(1)], [])
    new.confirm()
    place.down(turned(2))
    assert (old.packets(), new.packets(), other.packets()) == ([], [turned(2)], [])
    # What is on its way is taken for a moment.
    old.send(*numbered([packet(1)], 0))
    assert place.took() == [packet(1)]
    place.run(2.0)
    assert old.closed is not None
    assert (old.closed.reason, old.closed.by_peer) == ("superseded", True)
    assert other.closed is new.closed is None
    assert new.joined is not None
    assert old.joined is not None
    assert new.joined.epoch == old.joined.epoch
    # Numbers go on.
    new.send(*numbered([packet(1), packet(2)], 0))
    assert place.took() == [packet(2)]
    assert session(place).guests.keys() == {1, 2}


def test_another_start_of_the_client_takes_the_whole_tunnel(place: Place) -> None:
    old = [place.path(number, policy(1, 2)) for number in (1, 2)]
    bundle = session(place).bundle
    new = place.call_in()
    new.join(1, policy(1, 2), session=SECOND)
    place.down(turned(1))
    assert old[0].packets() == [turned(1)]
    new.confirm()
    assert session(place).bundle is not bundle
    place.down(turned(2))
    assert (new.packets(), old[0].packets(), old[1].packets()) == ([turned(2)], [], [])
    for joiner in old:
        joiner.send(*numbered([packet(9)], 0))
    # What was on its way is taken, once.
    assert place.took() == [packet(9)]
    # It numbers from the start.
    new.send(*numbered([packet(1)], 0))
    assert place.took() == [packet(1)]
    place.run(2.0)
    assert [joiner.closed.reason for joiner in old if joiner.closed is not None] == ["superseded"] * 2
    assert new.joined is not None
    assert old[0].joined is not None
    assert new.joined.epoch != old[0].joined.epoch
    assert session(place).guests.keys() == {1}
    assert "up: connected, superseding the previous connection" in place.states("server")


def test_a_straggler_of_an_earlier_start_takes_nothing_back(place: Place) -> None:
    place.path(1, policy(1, 2))
    straggler = place.call_in()
    straggler.join(2, policy(1, 2))
    new = place.path(1, policy(1, 2), session=SECOND)
    straggler.confirm()
    assert straggler.closed is not None
    assert straggler.closed.reason == "superseded"
    assert session(place).guests.keys() == {1}
    assert new.closed is None
    # The same start may come again, as a new one.
    again = place.path(2, policy(1, 2))
    assert again.joined is not None
    assert straggler.joined is not None
    assert again.joined.epoch != straggler.joined.epoch
    assert session(place).guests.keys() == {2}


def _registered(place: Place) -> Joiner:
    """Return a connection that is a tunnel by itself."""
    joiner = place.call_in()
    joiner.link.control(Hello(1, 2).encode() + Register(joiner.id, 0, PREFIXES).encode())
    place.run(0.1)
    assert any(isinstance(message, Registered) for message in joiner.heard)
    joiner.confirm()
    return joiner


def test_the_newest_wins_over_one_path_and_several(place: Place) -> None:
    plain = _registered(place)
    plain.send(b"\0" + packet(1))
    assert place.took() == [packet(1)]
    path = place.path(1, policy(1))
    path.send(*numbered([packet(2)], 0))
    assert place.took() == [packet(2)]
    place.down(turned(1))
    assert (plain.got, path.packets()) == ([], [turned(1)])
    place.run(2.0)
    assert plain.closed is not None
    again = _registered(place)
    place.down(turned(2))
    assert (again.got, path.packets()) == ([b"\0" + turned(2)], [])
    assert session(place).bundle is None
    place.run(2.0)
    assert path.closed is not None
    assert path.closed.reason == plain.closed.reason == "superseded"
    assert place.server.totals().rx_packets == 2
    assert place.server.totals().tx_packets == 2


# --- what passes ------------------------------------------------------------------------------------------------------


def test_several_paths_know_no_other_contexts_and_one_path_not_theirs(place: Place) -> None:
    path = place.path(1, policy(1))
    path.send(b"\0" + packet(1), b"\6" + packet(1), b"\x10", b"\2\0\7", b"", *numbered([packet(2)], 0))
    assert place.took() == [packet(2)]
    drops = session(place).counters.drops
    assert drops["context"] == 3
    assert drops["malformed"] >= 1
    assert session(place).paths[1].rx_err >= 4
    plain = _registered(place)
    plain.send(*numbered([packet(3)], 0), b"\4\0\0\0\1\0", b"\0" + packet(4))
    assert place.took() == [packet(4)]
    assert session(place).counters.drops["context"] == 5


def test_sources_are_held_to_the_key_on_every_path(place: Place) -> None:
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    spoofed = ["10.200.1.2", "10.200.2.1", "192.0.2.1", "127.0.0.1", "224.0.0.1"]
    for bucket, joiner in enumerate(joiners):
        joiner.send(*numbered([packet(9, source=source) for source in spoofed], 0, bucket=bucket))
    assert place.took() == []
    assert session(place).counters.drops == {"source": 4, "martian": 6}
    assert [path.rx_err for path in session(place).paths.values()] == [5, 5]


def test_a_budget_is_for_all_paths_together(place: Place) -> None:
    members = [replace(place.members[0], budget_packets=40), place.members[1]]
    place.server.configure(place.listener, Roster(members), place.now)
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    place.run(5.0)
    for number in range(200):
        for joiner in joiners:
            joiner.link.ping()
            place.carry(joiner)
        place.run(0.005)
        if number % 20 == 0:
            joiners[0].send(*numbered([packet(number)], number))
    assert session(place).counters.drops["budget"] > 200


def test_a_class_index_that_is_not_there_does_no_harm(place: Place) -> None:
    path = place.path(1, policy(1))
    path.send(*numbered([packet(1)], 0, flags=0xFF))
    assert place.took() == [packet(1)]
    place.down(turned(1))
    assert path.packets() == [turned(1)]


def test_copies_go_by_distinct_paths_and_count_once(place: Place) -> None:
    wanted = policy(1, 2, 3, classes=TWICE)
    wanted = replace(wanted, paths=tuple(replace(spec, link=spec.number) for spec in wanted.paths))
    joiners = [place.path(number, wanted) for number in (1, 2, 3)]
    place.run(3.0)
    place.down(*flows(60))
    got = Counter(data for joiner in joiners for data in joiner.packets())
    assert got == dict.fromkeys(flows(60), 2)
    assert place.server.totals().tx_packets == 60


def test_packets_that_wait_are_handed_on_in_time(place: Place) -> None:
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    first, missing, third = numbered([packet(1), packet(2), packet(3)], 0, flags=0x10)
    joiners[0].send(first)
    joiners[0].send(third)
    joiners[1].send(missing)
    assert sorted(place.took()) == [packet(1), packet(2), packet(3)]
    joiners[0].send(*numbered([packet(5)], 5, flags=0x10))
    place.run(1.0)
    assert place.took() == [packet(5)]


# --- paths that end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "silent"])
def test_a_path_ends_while_another_carries(place: Place, how: str) -> None:
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    place.run(3.0)
    place.down(turned(1))
    assert [joiner.packets() for joiner in joiners] == [[turned(1)], []]
    if how == "closed":
        joiners[0].link.close("gone")
    else:
        joiners[0].cut = True
        # It notices by what is not acknowledged.
        place.down(turned(2))
    place.run(0.5)
    place.down(turned(3))
    assert turned(3) in joiners[1].packets()
    place.run(22.0)
    assert session(place).guests.keys() == {2}
    assert session(place).paths.keys() == {1, 2}
    assert place.server.state == "up"
    assert session(place).guest is session(place).guests[2]
    assert session(place).paths[1].connection is None
    joiners[1].send(*numbered([packet(1)], 0))
    assert place.took() == [packet(1)]
    # It comes back, and nothing was forgotten.
    back = place.path(1, policy(1, 2))
    assert back.joined is not None
    assert joiners[1].joined is not None
    assert back.joined.epoch == joiners[1].joined.epoch
    back.send(*numbered([packet(1), packet(2)], 0))
    assert place.took() == [packet(2)]


def test_the_client_is_told_of_a_path_that_is_silent(place: Place) -> None:
    """Nothing else is sent that the report could leave with."""
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    place.run(3.0)
    place.down(turned(1))
    for joiner in joiners:
        joiner.got.clear()
    joiners[0].cut = True
    place.down(turned(2))
    place.run(0.2)
    reports = [report.decode(payload) for payload in joiners[1].got if payload[0] == wire.CONTEXT_STATUS]
    assert len(reports) >= 2
    assert reports[0] is not None
    assert {seen.path: seen.state for seen in reports[0][1]} == {1: State.SUSPECT, 2: State.UP}


def test_what_was_dropped_on_a_path_is_remembered_when_it_is_gone(place: Place) -> None:
    slow = replace(policy(1).paths[0], rate_down=100_000)
    first = place.path(1, replace(policy(1, 2), paths=(slow, policy(2).paths[0])))
    place.down(*[turned(number, 1200) for number in range(2000)])
    place.run(2.0)
    dropped = session(place).paths[1].counters.drops.total()
    assert dropped > 100
    place.path(2, policy(1, 2))
    first.update(policy(2, generation=2))
    place.run(0.5)
    assert place.server.totals().drops.total() >= dropped
    place.path(1, policy(1), session=SECOND)
    assert place.server.totals().drops.total() >= dropped


def test_the_tunnel_is_up_until_its_last_path_ends(place: Place) -> None:
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    joiners[1].link.close("gone")
    place.run(0.2)
    assert place.server.state == "up"
    joiners[0].link.close("gone")
    place.run(0.2)
    assert place.server.state == "listening"
    assert session(place).reason == "client closed: gone"
    assert place.states("server").count("listening: client closed: gone") == 1
    place.down(turned(1))
    assert session(place).counters.drops["no_path"] == 1
    place.run(60.0)
    again = place.path(2, policy(1, 2))
    assert place.server.state == "up"
    place.down(turned(2))
    assert again.packets() == [turned(2)]


def test_who_is_no_peer_any_more_loses_all_paths(place: Place) -> None:
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    other = place.path(1, policy(1), key="b", prefixes=OTHER_PREFIXES)
    place.server.configure(place.listener, Roster(place.members[1:]), place.now)
    place.run(0.1)
    assert [joiner.closed.reason for joiner in joiners if joiner.closed is not None] == ["no longer a peer"] * 2
    assert other.closed is None
    assert place.server.sessions.keys() == {"client2"}
    place.run(10.0)
    # With other prefixes, the same.
    changed = replace(place.members[1], allowed=(ip_network("10.200.3.0/30"),))
    place.server.configure(place.listener, Roster([changed]), place.now)
    place.run(0.1)
    assert other.closed is not None


def test_a_reload_that_changes_nothing_disturbs_nobody(place: Place) -> None:
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    wider = replace(place.members[0], allowed=(*place.members[0].allowed, ip_network("172.16.9.0/30")))
    place.server.configure(place.listener, Roster([wider, place.members[1]]), place.now)
    joiners[0].send(*numbered([packet(1, source="172.16.9.1")], 0))
    assert place.took() == [packet(1, source="172.16.9.1")]
    assert [joiner.closed for joiner in joiners] == [None, None]
    place.server.close(place.now)
    place.run(0.1)
    assert [joiner.closed.reason for joiner in joiners if joiner.closed is not None] == ["server stops"] * 2


# --- policies ---------------------------------------------------------------------------------------------------------


def test_the_policy_of_the_highest_generation_counts(place: Place) -> None:
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    place.run(3.0)
    other_way = replace(
        policy(1, 2, generation=5),
        paths=tuple(replace(spec, priority=9 - spec.priority) for spec in policy(1, 2).paths),
    )
    joiners[1].update(other_way)
    place.down(turned(1))
    assert [joiner.packets() for joiner in joiners] == [[], [turned(1)]]
    for generation in (4, 5):
        joiners[0].update(policy(1, 2, generation=generation))
        place.down(turned(2))
        assert [joiner.packets() for joiner in joiners] == [[], [turned(2)]]
    joiners[0].update(policy(1, 2, generation=6))
    place.run(1.0)
    place.down(turned(3))
    assert [joiner.packets() for joiner in joiners] == [[turned(3)], []]
    assert session(place).policy == policy(1, 2, generation=6)
    # As good as said in JOIN.
    place.path(2, replace(other_way, generation=7))
    assert session(place).policy == replace(other_way, generation=7)


def test_a_policy_that_never_got_confirmed_counts_for_nothing(place: Place) -> None:
    place.path(1, policy(1, 2))
    second = place.call_in()
    second.join(2, policy(2, generation=9))
    assert second.joined is not None
    assert session(place).policy == policy(1, 2)
    assert session(place).guests.keys() == {1}


def test_paths_come_and_go_with_the_policy(place: Place) -> None:
    first, second = (place.path(number, policy(1, 2)) for number in (1, 2))
    second.update(policy(2, 3, generation=2))
    # What is on its way is still taken.
    assert first.closed is None
    place.run(1.1)
    assert first.closed is not None
    assert first.closed.reason == "path removed"
    assert session(place).paths.keys() == {2, 3}
    place.down(turned(1))
    assert second.packets() == [turned(1)]
    third = place.path(3, policy(2, 3, generation=2))
    late = place.call_in()
    late.join(1, policy(1, 2))
    assert late.refused is not None
    assert late.refused.code == messages.NOT_ALLOWED
    assert late.refused.reason == "path 1 is not in the newest policy of its tunnel"
    # One that asked before, and confirms afterwards.
    waiting = place.call_in()
    waiting.join(2, policy(2, 3, generation=2))
    third.update(policy(3, 4, generation=3))
    waiting.confirm()
    assert waiting.closed is not None
    place.run(1.1)
    assert waiting.closed.reason == second.closed.reason == "path removed"  # type: ignore[union-attr]
    assert session(place).guests.keys() == {3}
    third.update(policy(4, generation=4))
    assert place.server.state == "listening"
    place.run(1.1)
    assert third.closed is not None
    assert place.path(4, policy(4, generation=4)).joined is not None
    assert place.server.state == "up"


def test_a_policy_that_is_malformed_ends_its_connection(place: Place) -> None:
    first, second = (place.path(number, policy(1, 2)) for number in (1, 2))
    second.update(b"\x09nonsense")
    assert second.closed is not None
    assert second.closed.reason == "policy: number of paths: found 11887, expected 1 to 255"
    assert first.closed is None
    assert session(place).policy == policy(1, 2)


def test_a_flood_of_policies_ends(place: Place) -> None:
    """What a connection may say in its life bounds how often a server has to think."""
    joiner = place.path(1, policy(1, 2))
    place.path(2, policy(1, 2))
    many = [Rule(0, sources=20 * (ip_network("2001:db8::/64"),))] * 10
    said = 0
    for generation in range(2, 1000):
        data = policy_wire.encode(replace(policy(1, 2, generation=generation), rules=tuple(many)))
        said += len(data)
        if said > 2 * MAX_CONTROL:
            break
        joiner.update(data)
    found = session(place).policy
    assert found is not None
    assert 10 < found.generation < MAX_CONTROL / len(data) + 2


def test_policies_in_quick_succession_end_the_connection_that_brought_them(place: Place) -> None:
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    for generation in range(2, MAX_POLICIES + 1):
        joiners[0].link.control(PolicyUpdate(policy_wire.encode(policy(1, 2, generation=generation))).encode())
    # What is known already is no work, however often it comes.
    joiners[1].link.control(50 * PolicyUpdate(policy_wire.encode(policy(1, 2))).encode())
    place.run(0.1)
    assert [joiner.closed for joiner in joiners] == [None, None]
    many = range(MAX_POLICIES + 1, MAX_POLICIES + 4)
    joiners[1].link.control(
        b"".join([PolicyUpdate(policy_wire.encode(policy(1, 2, generation=g))).encode() for g in many])
    )
    place.run(0.1)
    assert joiners[1].closed is not None
    assert joiners[1].closed.reason == "found more than 16 policies in short time"
    place.run(3.0)
    # Nor is another start of the client free.
    place.path(1, policy(1, 2), session=SECOND)
    refused = []
    for number in range(8):
        hasty = place.call_in()
        hasty.join(1, policy(1, 2), session=bytes([number] * 16))
        hasty.confirm()
        refused.append(hasty.closed is not None and hasty.closed.reason.startswith("found more than"))
    assert refused.count(True) >= 3
    assert session(place).guests.keys() == {1}
    place.run(5.0)
    assert place.path(2, policy(1, 2, generation=90), session=SECOND).closed is None
    assert session(place).guests.keys() >= {2}


def test_one_policy_too_many_ends_one_connection(place: Place) -> None:
    joiners = [place.path(number, policy(1, 2)) for number in (1, 2)]
    newest = MAX_POLICIES + 4
    for generation in range(2, newest):
        joiners[0].link.control(PolicyUpdate(policy_wire.encode(policy(1, 2, generation=generation))).encode())
    place.run(0.1)
    assert joiners[0].closed is not None
    found = session(place).policy
    assert found is not None
    # The same one, and older ones, from the other.
    for generation in range(2, found.generation + 2):
        joiners[1].link.control(PolicyUpdate(policy_wire.encode(policy(1, 2, generation=generation))).encode())
    place.run(0.1)
    assert joiners[1].closed is None
    assert session(place).policy == found
    # It counts when it is said by a connection that joins.
    place.run(1.0)
    assert place.path(1, policy(1, 2, generation=found.generation + 1)).closed is None
    assert session(place).policy == policy(1, 2, generation=found.generation + 1)
    assert session(place).guests.keys() == {1, 2}


def test_memory_is_shared_by_the_paths(place: Place) -> None:
    wanted = policy(*range(1, 256))
    place.path(1, wanted)
    paths = session(place).paths
    assert len(paths) == 255
    bounds = [path.lane._queue._bounds[1] for path in paths.values()]
    assert sum(bounds) < 4 * CAPACITY_OCTETS


def test_rates_are_those_of_the_policy(place: Place) -> None:
    wanted = replace(policy(1), paths=(replace(policy(1).paths[0], rate_down=1_000_000),))
    joiner = place.path(1, wanted)
    place.run(1.0)

    def arrived() -> int:
        start = place.now
        while place.now < start + 1.0:
            place.down(*[turned(number, 1000) for number in range(40)])
        place.run(0.3)
        return sum(map(len, joiner.packets()))

    slow = arrived()
    assert 80_000 < slow < 150_000
    joiner.update(replace(wanted, generation=2, paths=policy(1).paths))
    assert arrived() > 5 * slow


def test_datagrams_of_every_path_are_marked(place: Place) -> None:
    members = [replace(place.members[0], outer_dscp=46), place.members[1]]
    place.server.configure(place.listener, Roster(members), place.now)
    place.path(1, policy(1, 2))
    assert [path.lane.marking is None for path in session(place).paths.values()] == [False, False]
    place.server.configure(place.listener, Roster(place.members), place.now)
    assert [path.lane.marking is None for path in session(place).paths.values()] == [True, True]
