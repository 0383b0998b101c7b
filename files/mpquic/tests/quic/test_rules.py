# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server lets nobody do: come back after a refusal, stay after a reload, register twice, leave a mark."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from mpquic.core import wire
from mpquic.core.connection import SUPERSEDED
from mpquic.core.guest import DEADLINE
from mpquic.core.messages import Hello, Refused
from mpquic.core.roster import Member, Roster
from mpquic.core.server import NO_LONGER
from mpquic.quic import ClientEndpoint, ServerEndpoint, Trust
from simulation import PREFIXES, SERVER, World, arrivals, packet
from visitor import CONFIRM, FOREIGN, HELLO, REGISTER, Visitor

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.core.server import ServerTunnel

#: An inner packet of the client, as it travels.
INNER = b"\0" + packet(1)
OTHER_KEY = frozenset({"sha256:" + "1" * 64})


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A server, and a client that has gone away: its key is used by hand."""
    made = World(tmp_path)
    made.client.close(made.now)
    made.run(0.1)
    return made


def _server(world: World) -> ServerTunnel:
    assert world.server is not None
    return world.server


def _reload(world: World, *members: Member, legacy: bool = False) -> None:
    listener = ServerEndpoint(identity=world.identity, tun_mtu=1300, legacy=legacy)
    _server(world).configure(listener, Roster(members), world.now)


def _registered(world: World, *, confirmed: bool = True) -> Visitor:
    visitor = Visitor(world)
    visitor.say(HELLO, REGISTER, *[CONFIRM] * confirmed)
    assert visitor.registered
    assert visitor.guest is not None
    assert visitor.guest.active is confirmed
    assert visitor.carry(INNER) == [packet(1)]
    return visitor


# --- what is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [Hello(7, 9).encode(), HELLO + CONFIRM, HELLO + FOREIGN], ids=["version", "order", "prefix"]
)
def test_nothing_is_heard_after_a_refusal(world: World, wrong: bytes) -> None:
    visitor = Visitor(world)
    visitor.say(wrong)
    assert [type(message) for message in visitor.heard if not isinstance(message, Hello)] == [Refused]
    heard = list(visitor.heard)
    visitor.say(REGISTER)
    visitor.say(CONFIRM)
    visitor.say(HELLO, REGISTER, CONFIRM)
    assert visitor.heard == heard
    assert visitor.carry(INNER) == []
    assert _server(world).totals().drops["refused"] == 1
    assert _server(world).connects == 0
    assert visitor.guest is not None
    assert visitor.guest.session is None


@pytest.mark.parametrize("again", [REGISTER, CONFIRM, HELLO, FOREIGN], ids=["register", "confirm", "hello", "foreign"])
def test_who_breaks_the_protocol_after_the_registration_is_ended(world: World, again: bytes) -> None:
    visitor = _registered(world)
    visitor.say(again)
    assert visitor.guest is not None
    assert visitor.guest.gone
    assert visitor.closed is not None
    assert "control stream: " in visitor.closed.reason
    assert _server(world).sessions["client1"].guest is None
    assert visitor.carry(INNER) == []


@pytest.mark.parametrize("again", [REGISTER, HELLO], ids=["register", "hello"])
def test_who_breaks_the_protocol_before_it_confirms_is_ended(world: World, again: bytes) -> None:
    visitor = _registered(world, confirmed=False)
    visitor.say(again)
    assert visitor.closed is not None
    assert visitor.carry(INNER) == []


# --- a reload --------------------------------------------------------------------------------------------------------


def test_a_key_that_is_another_peers_now_is_cut(world: World) -> None:
    visitor = _registered(world)
    (member,) = world.members
    # It may have these prefixes, as somebody else.
    moved = Member("client9", PREFIXES, member.pins)
    _reload(world, Member(member.name, (ip_network("10.200.5.0/30"),), OTHER_KEY), moved)
    assert visitor.carry(INNER) == []
    assert visitor.closed is not None
    assert visitor.closed.reason == NO_LONGER
    assert _server(world).sessions["client1"].guest is None


@pytest.mark.parametrize("confirmed", [False, True])
def test_who_is_registered_is_judged_again_confirmed_or_not(world: World, *, confirmed: bool) -> None:
    visitor = _registered(world, confirmed=confirmed)
    (member,) = world.members
    _reload(world, Member(member.name, member.allowed, OTHER_KEY))
    assert not _server(world)._board.guests
    assert visitor.carry(INNER) == []
    assert visitor.closed is not None
    assert visitor.closed.reason == NO_LONGER


def test_who_was_superseded_is_judged_again(world: World) -> None:
    """For a moment its packets are still taken, as they may have been overtaken."""
    old = _registered(world)
    world.now += 0.1
    new = Visitor(world, ("198.51.100.10", 10))
    new.say(HELLO, REGISTER, CONFIRM)
    assert old.guest is not None
    assert old.guest.superseded
    assert old.carry(INNER) == [packet(1)]
    (member,) = world.members
    _reload(world, Member(member.name, member.allowed, OTHER_KEY))
    assert not _server(world)._board.guests
    assert old.carry(INNER) == []
    assert old.closed is not None
    assert old.closed.reason == NO_LONGER != SUPERSEDED


# --- clients without keys --------------------------------------------------------------------------------------------


def _legacy(name: str, network: str) -> Member:
    return Member(name, (ip_network("10.200.1.1/32"),), sources=(ip_network(network),))


def _legacy_visitor(world: World) -> Visitor:
    trust = Trust(pins=tuple(world.client_endpoint._pins))
    return Visitor(world, endpoint=ClientEndpoint(trust=trust, identity=None, tun_mtu=1300, legacy=True))


def test_a_legacy_peer_is_judged_again_by_a_reload(world: World) -> None:
    _reload(world, _legacy("old1", "198.51.100.0/24"), legacy=True)
    visitor = _legacy_visitor(world)
    assert visitor.carry(packet(1)) == [packet(1)]
    _reload(world, _legacy("old1", "198.51.0.0/16"), legacy=True)
    assert visitor.carry(packet(1)) == [packet(1)]
    _reload(world, _legacy("old1", "203.0.113.0/24"), legacy=True)
    assert visitor.carry(packet(1)) == []
    assert visitor.closed is not None
    assert visitor.closed.reason == NO_LONGER
    assert _server(world).sessions["old1"].guest is None


def test_a_legacy_client_from_elsewhere_is_refused_before_it_says_anything(world: World) -> None:
    _reload(world, _legacy("old1", "203.0.113.0/24"), legacy=True)
    visitor = _legacy_visitor(world)
    assert visitor.closed is not None
    assert not _server(world)._board.guests
    assert _server(world).totals().drops["refused"] == 1
    (change,) = [change for change in _server(world).changes() if change.state == "refused"]
    assert change.reason == "no legacy peer comes from this network"


# --- strangers -------------------------------------------------------------------------------------------------------


def test_a_handshake_that_is_never_completed_ends_without_a_word(world: World) -> None:
    server, place = _server(world), ("203.0.113.5", 5)
    ((first, _to), *_more) = world.client_endpoint.connect(SERVER, world.now).seal([], world.now)[0]
    server.receive(arrivals(place, first), world.now)
    answers = [data for data, to in server.flush(world.now) if to == place]
    # There would be room for a word: three times what came.
    assert 0 < sum(map(len, answers)) < 3 * len(first) - 100
    world.now += DEADLINE
    server.fire(world.now)
    assert [data for data, to in server.flush(world.now) if to == place] == []
    assert not server._board.guests
    assert server.totals().drops["handshake_timeout"] == 1


def test_only_peers_become_familiar(world: World) -> None:
    server = _server(world)
    familiar = server._board._admission._familiar
    stranger = Visitor(world, ("203.0.113.5", 5))
    stranger.link.close("changed my mind")
    stranger.carry()
    assert not server._board.guests
    assert not familiar
    unfinished = Visitor(world, ("203.0.113.6", 6))
    unfinished.say(HELLO, FOREIGN)
    world.now += DEADLINE
    server.fire(world.now)
    assert not server._board.guests
    assert not familiar
    _registered(world)
    assert list(familiar) == ["198.51.100.9"]


def test_an_initial_does_not_make_a_connection_smaller(world: World) -> None:
    visitor = _registered(world)
    assert visitor.guest is not None
    size = visitor.guest.connection.datagram_size
    assert size > wire.MIN_INITIAL
    ((first, _to), *_more) = world.client_endpoint.connect(SERVER, world.now).seal([], world.now)[0]
    at = 6
    for cid in visitor.guest.cids:
        forged = first[: at - 1] + bytes([len(cid)]) + cid + first[at + first[at - 1] :]
        header = wire.long_header(forged)
        assert header is not None
        assert (header.initial, header.destination) == (True, cid)
        _server(world).receive(arrivals(("203.0.113.5", 5), forged[: wire.MIN_INITIAL]), world.now)
    assert visitor.guest.connection.datagram_size == size
