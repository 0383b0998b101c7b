# SPDX-License-Identifier: GPL-3.0-or-later
"""A client with several paths in virtual time: how it starts, restarts, changes and ends."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from mpquic.core.dialer import SETTLED
from mpquic.core.multipath.policy import Policy, Rule, TrafficClass
from mpquic.core.registration import ServerRegistration
from several import Several, Stream, paths, udp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from mpquic.core.connection import Connection
    from mpquic.core.types import Address


def _started(folder: Path, count: int = 2) -> Several:
    world = Several(folder, paths(*range(count)))
    world.run_until(world.all_up, 2)
    return world


def _sessions(world: Several) -> list[str | None]:
    return [leg.session for leg in world.client.legs]


def test_a_first_path_that_is_dead_delays_nothing(tmp_path: Path) -> None:
    world = Several(tmp_path, paths(0, 10))
    world.lines[1].cut()
    assert world.run_until(lambda: world.client.state == "up", 2) < 0.2
    streams = Stream(world), Stream(world, down=True)
    world.run(1)
    assert all(stream.outage() < 0.015 for stream in streams)
    assert world.client.connection is world.leg(2).connection


def test_a_path_without_an_interface_is_used_when_it_comes(tmp_path: Path) -> None:
    world = Several(tmp_path, paths(0, 10))
    world.lines[1].no_socket = "no interface wan1"
    world.run(3)
    assert (world.state(1), world.state(2)) == ("down", "up")
    assert world.leg(1).path.health is not None
    assert world.leg(1).reason == "no interface wan1"
    world.lines[1].no_socket = None
    world.leg(1).link_changed(world.now)
    assert world.run_until(lambda: world.leg(1).state == "up", 1) < 0.2


def test_a_link_that_goes_takes_one_path(tmp_path: Path) -> None:
    world = _started(tmp_path)
    streams = Stream(world), Stream(world, down=True)
    world.run(0.5)
    world.lines[1].no_socket = "no carrier"
    world.lines[1].cut()
    world.leg(1).socket_failed("no carrier", world.now)
    world.run(0.5)
    assert world.state(1) == "down"
    for stream in streams:
        stream.stop()
    world.run(0.1)
    # What was on its way is lost, and what the server sends until it is told.
    assert len(streams[0].lost()) <= 3
    assert streams[1].outage() < 0.1
    assert world.client.state == "up"


def test_renewal_goes_path_by_path_and_loses_nothing(tmp_path: Path) -> None:
    world = _started(tmp_path, 3)
    before = _sessions(world)
    streams = Stream(world), Stream(world, down=True)
    world.run(0.2)
    most = 0
    world.client.renew(world.endpoint.connect, world.now, redial=True)
    for _step in range(100):
        world.run(0.01)
        most = max(most, sum([leg.renewing for leg in world.client.legs]))
    assert most == 1
    assert not set(before) & set(_sessions(world))
    for stream in streams:
        stream.stop()
    world.run(4)
    assert [(stream.lost(), stream.twice(), stream.disorder()) for stream in streams] == [([], 0, 0)] * 2
    assert world.all_up()


def test_a_renewal_that_fails_on_one_path_does_not_keep_the_others(tmp_path: Path) -> None:
    world = _started(tmp_path, 3)
    before = _sessions(world)
    world.client.renew(world.endpoint.connect, world.now, redial=True)
    # Nothing of the new connection gets through the first link, while the old one lives for a while.
    world.lines[1].cut()
    world.run(4)
    assert not set(before[1:]) & set(_sessions(world)[1:])


def test_paths_come_and_go_without_touching_others(tmp_path: Path) -> None:
    world = _started(tmp_path, 3)
    before = _sessions(world)
    streams = Stream(world), Stream(world, down=True)
    world.run(0.2)
    specs = paths(0, 1, 2, 3)
    world.reconfigure([specs[0], specs[3], replace(specs[2], priority=9)])
    world.run(3)
    assert [leg.spec.number for leg in world.client.ports] == [1, 4, 3]
    assert _sessions(world)[::2] == before[::2]
    assert world.all_up()
    assert world.server is not None
    assert sorted(world.server.sessions["client1"].paths) == [1, 3, 4]
    for stream in streams:
        stream.stop()
    world.run(0.1)
    assert [(stream.lost(), stream.twice(), stream.disorder()) for stream in streams] == [([], 0, 0)] * 2


def test_the_path_in_use_is_removed(tmp_path: Path) -> None:
    world = _started(tmp_path)
    streams = Stream(world), Stream(world, down=True)
    world.run(0.2)
    world.reconfigure(paths(0, 1)[1:])
    world.run(0.5)
    for stream in streams:
        stream.stop()
    world.run(0.1)
    assert [(stream.lost(), stream.twice()) for stream in streams] == [([], 0)] * 2


def test_a_removed_path_delivers_what_is_on_its_way(tmp_path: Path) -> None:
    policy = Policy(1, paths(0, 0, 0), (TrafficClass("default", "balanced", spray=True),))
    world = Several(tmp_path, (), policy=policy, rtt=0.02)
    world.lines[2].up.delay = world.lines[2].down.delay = 0.04
    world.run_until(world.all_up, 2)
    world.run(1)
    streams = [Stream(world, down=down, interval=0.002) for down in (False, True)]
    world.run(1)
    leaving = world.leg(2)
    world.reconfigure([spec for spec in policy.paths if spec.number != 2])
    carried = leaving.path.counters.tx_packets
    world.run(2)
    for stream in streams:
        stream.stop()
    world.run(4)
    assert [(stream.lost(), stream.twice(), stream.disorder()) for stream in streams] == [([], 0, 0)] * 2
    assert leaving.path.counters.tx_packets == carried
    assert (leaving.over, world.client.leaving) == (True, ())


def test_the_server_follows_another_policy(tmp_path: Path) -> None:
    world = _started(tmp_path)
    stream = Stream(world, down=True)
    world.run(0.3)
    before = [leg.path.counters.rx_packets for leg in world.client.legs]
    world.reconfigure(paths(1, 0))
    world.run(0.5)
    after = [leg.path.counters.rx_packets for leg in world.client.legs]
    assert before[0] > before[1]
    assert after[1] - before[1] > 40
    assert (stream.lost()[:-5], stream.twice(), stream.disorder()) == ([], 0, 0)


def test_many_policies_renew_a_connection(tmp_path: Path) -> None:
    world = _started(tmp_path, 1)
    before = _sessions(world)
    sources = tuple([ip_network(f"172.16.1.{host}/32") for host in range(3)])
    rules = tuple([Rule(0, sources=sources, destinations=sources) for _index in range(150)])
    world.policy = replace(world.policy, rules=rules)
    for _change in range(14):
        world.reconfigure(paths(0))
        world.run(1)
    assert before != _sessions(world)
    assert world.client.connects == 2
    assert len(world.states("client")) < 8


def test_a_restarted_server_is_found_by_all_paths(tmp_path: Path) -> None:
    world = _started(tmp_path, 3)
    streams = Stream(world), Stream(world, down=True)
    world.run(SETTLED)
    epoch = world.leg(1).epoch
    world.start_server()
    assert world.run_until(lambda: any(leg.epoch != epoch for leg in world.client.legs), 3) < 2.5
    # What the server says to the first path is news for the others.
    assert not [leg for leg in world.client.legs if leg.state == "up" and leg.epoch == epoch]
    assert world.run_until(lambda: all(leg.state == "up" and leg.epoch != epoch for leg in world.client.legs), 1) < 0.2
    at = world.now
    world.run(1)
    assert all(sum(when > at for when, _number in stream.came()) > 95 for stream in streams)
    assert [stream.twice() for stream in streams] == [0, 0]
    world.run(5)
    assert world.all_up()


def test_packets_of_the_server_before_do_no_harm(tmp_path: Path) -> None:
    world = _started(tmp_path, 1)
    # The numbers of many flows, because nobody knows which bucket a flow gets.
    before = [Stream(world, down=True, port=port) for port in range(5000, 5060)]
    world.run(0.05)
    world.lines[1].down.delay = 0.3
    world.run(0.1)
    for stream in before:
        stream.stop()
    world.start_server()
    world.lines[1].down.delay = 0.02
    epoch = world.leg(1).epoch
    world.client.renew(world.endpoint.connect, world.now, redial=True)
    world.run_until(lambda: world.leg(1).epoch != epoch, 0.2)
    world.run(0.03)
    after = [Stream(world, down=True, port=port) for port in range(6000, 6060)]
    world.run(0.3)
    for stream in after:
        stream.stop()
    world.run(0.1)
    assert [(stream.lost(), stream.twice()) for stream in after if stream.lost() or stream.twice()] == []
    assert not {"duplicate", "stale"} & set(world.client.totals().drops)


def test_an_answer_of_the_server_before_is_not_believed(tmp_path: Path) -> None:
    world = _started(tmp_path, 1)
    world.reconfigure(paths(0, 1))
    world.lines[2].down.delay = 0.4
    assert world.server is not None
    # The first round trip is the handshake's, the answer to the registration is on its way then.
    world.run(0.6)
    world.server.close(world.now)
    world.run(0.001)
    world.start_server()
    world.run_until(lambda: world.leg(1).state != "up", 0.1)
    world.run_until(lambda: world.leg(1).state == "up", 0.35)
    session, told = world.leg(1).session, len(world.history)
    world.run(0.4)
    assert world.leg(1).session == session
    assert "the server began anew meanwhile" in " ".join([text for _at, _who, text in world.history[told:]])


def test_a_server_that_says_goodbye_is_back_at_once(tmp_path: Path) -> None:
    world = _started(tmp_path)
    assert world.server is not None
    world.server.close(world.now)
    world.run(0.1)
    assert world.client.state != "up"
    assert "waiting: no path is up: server closed: server stops" in world.states("client")
    world.start_server()
    assert world.run_until(lambda: world.client.state == "up", 3) < 2


def test_a_restarted_client_is_let_in(tmp_path: Path) -> None:
    world = _started(tmp_path)
    for number in range(50):
        world.up(udp(number))
        world.run(0.01)
    world.start_client()
    streams = [Stream(world, port=5001), Stream(world, down=True, port=5001)]
    assert world.run_until(lambda: world.client.state == "up", 1) < 0.2
    world.run(1)
    assert all(stream.outage() < 0.015 and len(stream.came()) > 95 for stream in streams)
    assert world.all_up()


def test_goodbyes_leave_on_every_path(tmp_path: Path) -> None:
    world = _started(tmp_path, 3)
    world.client.close(world.now)
    world.run(0.1)
    assert world.server is not None
    assert world.server.state == "listening"
    assert (world.client.state, world.client.reason) == ("stopped", "told to stop")
    assert [text for text in world.states("client") if text.startswith("waiting")] == []
    assert [text for text in world.states("server") if "client stops" in text]


def test_sixteen_paths(tmp_path: Path) -> None:
    world = Several(tmp_path, paths(*[0] * 16))
    assert world.run_until(lambda: world.client.state == "up", 2) < 0.2
    world.run(1)
    assert world.all_up()
    streams = [Stream(world, port=6000 + index, interval=0.1, down=index % 2 == 0) for index in range(128)]
    world.run(1)
    used = [leg.path.counters for leg in world.client.legs]
    # By chance, hardly more than one has none of so many flows.
    assert sum(counters.tx_packets + counters.rx_packets > 0 for counters in used) >= 14
    assert all(stream.outage() < 0.11 for stream in streams)


def test_the_best_path_stands_for_the_tunnel_at_both_ends(tmp_path: Path) -> None:
    world = _started(tmp_path)
    assert world.server is not None
    session = world.server.sessions["client1"]

    def standing() -> int:
        """Return the number of the path that stands for the tunnel, the same at both ends."""
        assert session.guest is not None
        best = world.leg(session.guest.number)
        assert world.client.connection is best.connection
        assert best.session == session.guest.connection.session
        return session.guest.number

    assert standing() == 1
    world.lines[1].cut()
    world.run(10)
    assert standing() == 2
    # What comes back last is the best again.
    world.lines[1].mend()
    world.run_until(world.all_up, 20)
    # The other end's last word on it is on its way.
    world.run(1)
    assert standing() == 1
    world.client.renew(world.endpoint.connect, world.now, redial=True)
    world.run(4)
    assert standing() == 1


def test_both_ends_tell_of_a_renewal(tmp_path: Path) -> None:
    world = _started(tmp_path)
    world.client.renew(world.endpoint.connect, world.now, redial=True)
    world.run(4)
    for who in ("client", "server"):
        assert sum([each.startswith("path renewed: ") for each in world.states(who)]) == 2
    sessions = _sessions(world)
    told = [detail for who, detail in world.told if who == "server" and str(sessions[0]) in detail]
    assert told == [f"peer=client1 name=wan1 remote=198.51.100.1:{world.lines[1].port} session={sessions[0]}"]


def test_policies_are_told_once_a_second(tmp_path: Path) -> None:
    world = _started(tmp_path, 3)
    assert world.server is not None
    session = world.server.sessions["client1"]
    before = _sessions(world)
    streams = Stream(world), Stream(world, down=True)
    world.run(0.5)
    seen = set()
    for change in range(150):
        world.reconfigure([replace(spec, weight=1 + change % 2) for spec in world.policy.paths])
        world.run(0.02)
        assert session.policy is not None
        seen.add(session.policy.generation)
    # The first at once, and then what was the newest each second.
    assert len(seen) == 3
    assert world.run_until(lambda: session.policy == world.policy, 2) < 1.05
    for stream in streams:
        stream.stop()
    world.run(0.1)
    assert [(stream.lost(), stream.twice(), stream.disorder()) for stream in streams] == [([], 0, 0)] * 2
    assert _sessions(world) == before


def test_a_path_that_joined_with_an_older_policy_is_told_the_newest(tmp_path: Path) -> None:
    world = Several(tmp_path, paths(0), rtt=0.4)
    # The registration is on its way.
    world.run(0.6)
    world.reconfigure(paths(7))
    assert world.leg(1).state == "connecting"
    world.run(0.6)
    assert world.server is not None
    assert world.server.sessions["client1"].policy == world.policy


def test_an_attempt_that_begins_anew_is_no_outage(tmp_path: Path) -> None:
    world = Several(tmp_path, paths(0, 0, 0), rtt=0.6)
    world.run(0.7)
    links = [leg.connection for leg in world.client.legs]
    assert None not in links
    world.client.renew(world.endpoint.connect, world.now, redial=False)
    assert not [leg for leg in world.client.legs if leg.state != "connecting" or leg.connection in links]
    world.run_until(world.all_up, 2)
    assert [leg.path.health.fails for leg in world.client.legs if leg.path.health is not None] == [0, 0, 0]
    assert [text for text in world.states("client") if "waiting" in text or "probation" in text] == []


def test_a_renewal_under_way_begins_anew_with_a_newer_key(tmp_path: Path) -> None:
    world = _started(tmp_path)
    made = []

    def connect(kind: str) -> Callable[[Address, float], Connection]:
        def begin(remote: Address, now: float) -> Connection:
            made.append(kind)
            return world.endpoint.connect(remote, now)

        return begin

    world.client.renew(connect("old"), world.now, redial=True)
    world.run(0.03)
    world.client.renew(connect("new"), world.now, redial=True)
    world.run(3)
    assert made == ["old", "new", "new"]
    assert world.client.connects == 4
    assert world.all_up()


def test_a_server_that_begins_anew_with_each_connection_is_asked_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = ServerRegistration.accept
    monkeypatch.setattr(
        ServerRegistration,
        "accept",
        lambda self, prefixes, epoch=None: accept(self, prefixes, None if epoch is None else os.urandom(len(epoch))),
    )
    world = Several(tmp_path, paths(0, 10), rtt=0.005)
    world.run(5)
    before = world.client.connects
    world.run(10)
    assert 0 < world.client.connects - before < 20


def test_a_rate_is_taken_over(tmp_path: Path) -> None:
    world = _started(tmp_path, 1)
    stream = Stream(world, interval=0.0025, size=1000)
    world.run(0.5)

    def arrived() -> int:
        before = len(stream.came())
        world.run(1)
        return len(stream.came()) - before

    assert arrived() > 380
    session = world.leg(1).session
    world.reconfigure(paths(0), {1: 1_000_000})
    world.run(0.5)
    assert 80 < arrived() < 130
    world.reconfigure(paths(0))
    world.run(0.5)
    assert arrived() > 380
    assert world.leg(1).session == session


def test_what_was_dropped_on_a_removed_path_stays_counted(tmp_path: Path) -> None:
    world = _started(tmp_path)
    world.leg(2).path.counters.drops["queue"] += 3
    world.reconfigure(paths(0))
    world.run(0.1)
    assert world.client.totals().drops["queue"] == 3
