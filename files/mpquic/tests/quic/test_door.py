# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's front door in virtual time: floods, Retry, Version Negotiation, hoarders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mpquic.core import wire
from mpquic.core.admission import MAX_HALF_OPEN, MAX_HALF_OPEN_PER_SOURCE, RETRY_HALF_OPEN
from simulation import SERVER, World, arrivals, packet

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.core.server import ServerTunnel
    from mpquic.core.types import Address, Datagram


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _server(world: World) -> ServerTunnel:
    assert world.server is not None
    return world.server


def _initial(world: World) -> bytes:
    connection = world.client_endpoint.connect(SERVER, world.now)
    data: bytes = connection.seal([], world.now)[0][0][0]
    return data


def _knock(world: World, address: Address, data: bytes | None = None) -> list[Datagram]:
    server = _server(world)
    server.receive(arrivals(address, data or _initial(world)), world.now)
    return [(data, to) for data, to in server.flush(world.now) if to == address]


def _is_retry(data: bytes) -> bool:
    return data[0] & 0xF0 == 0xF0


def test_one_source_gets_a_few_half_open_connections(world: World) -> None:
    for number in range(30):
        _knock(world, ("203.0.113.1", 1000 + number))
    assert len(_server(world)._board.guests) <= MAX_HALF_OPEN_PER_SOURCE + 1
    assert _server(world).totals().drops["retry"] == 30 - MAX_HALF_OPEN_PER_SOURCE


@pytest.mark.parametrize("known", [False, True])
def test_forged_addresses_do_not_keep_a_client_out(world: World, *, known: bool) -> None:
    """Fifty Initials a second from the client's own address: it proves that it is there, they cannot."""
    if known:
        world.run_until(lambda: world.client.state == "up", 5)
        world.client.close(world.now)
        world.run(1.0)

    def forge() -> None:
        address = ("198.51.100.1", world.random.randrange(1024, 50000))
        _server(world).receive(arrivals(address, _initial(world)), world.now)

    world.every(0.02, forge)
    world.run(6.0)
    world.start_client()
    world.run_until(lambda: world.client.state == "up", 2.0)


def test_an_ipv6_network_is_one_source(world: World) -> None:
    for number in range(30):
        _knock(world, (f"2001:db8::{number:x}", 1000, 0, 0))
    assert len(_server(world)._board.guests) <= MAX_HALF_OPEN_PER_SOURCE + 1


def test_many_sources_have_to_prove_their_addresses(world: World) -> None:
    answers = [answer for number in range(200) for answer in _knock(world, (f"203.0.{number}.1", 1))]
    assert sum(_is_retry(data) for data, _ in answers) == 200 - RETRY_HALF_OPEN
    assert len(_server(world)._board.guests) == RETRY_HALF_OPEN
    # The client that is meant gets in, by a Retry of its own; and the strangers' memory is given back.
    assert world.run_until(lambda: world.client.state == "up", 2.0) < 0.3
    world.run(6)
    assert len(_server(world)._board.guests) == 1
    assert len(_server(world)._board._by_cid) < 20
    assert not _server(world)._board._admission._half_open


def test_fast_initials_have_to_prove_their_addresses_though_none_stays(world: World) -> None:
    server = _server(world)
    retries = 0
    for number in range(100):
        retries += sum(_is_retry(data) for data, _ in _knock(world, (f"203.0.{number}.1", 1)))
        for guest in list(server._board.guests):
            server._end(guest, "test", world.now)
        server.flush(world.now)
    assert retries == 50


def test_a_token_is_for_one_address_and_ten_seconds(world: World) -> None:
    for number in range(100):
        _knock(world, (f"203.0.{number}.1", 1))
    mine: Address = ("198.51.100.9", 9)
    for delay, place, accepted in ((1.0, mine, True), (1.0, ("198.51.100.8", 9), False), (11.0, mine, False)):
        link = world.client_endpoint.connect(SERVER, world.now)
        first = link.seal([], world.now)[0][0][0]
        ((retry, _to),) = _knock(world, mine, first)
        assert _is_retry(retry)
        assert len(retry) < len(first)
        link.open(arrivals(SERVER, retry), world.now)
        second = link.seal([], world.now)[0][0][0]
        header = wire.long_header(second)
        assert header is not None
        assert header.token
        world.now += delay
        # Some strangers wait at the door meanwhile.
        world.run(0)
        for number in range(60):
            _knock(world, (f"192.0.{number}.1", 1))
        before = len(_server(world)._board.guests)
        _knock(world, place, second)
        assert (len(_server(world)._board.guests) - before == 1) is accepted


def _enter_proved(world: World, address: Address) -> list[Datagram]:
    """Begin a handshake with a proved address, and return what the server says to it."""
    connection = world.client_endpoint.connect(SERVER, world.now)
    ((retry, _to),) = _knock(world, address, connection.seal([], world.now)[0][0][0])
    assert _is_retry(retry)
    connection.open(arrivals(SERVER, retry), world.now)
    return _knock(world, address, connection.seal([], world.now)[0][0][0])


def test_hoarders_with_proved_addresses_keep_nobody_out(world: World) -> None:
    world.run_until(lambda: world.client.state == "up" and _server(world).state == "up", 1.0)
    board = _server(world)._board
    for number in range(RETRY_HALF_OPEN):
        assert _knock(world, (f"203.0.113.{number}", 1))
    for number in range(MAX_HALF_OPEN - RETRY_HALF_OPEN):
        if number % 50 == 0:
            world.run(0.6)  # the server begins so many handshakes a second
        assert _enter_proved(world, (f"192.0.2.{number // 8}", number))
    full = len(board.guests)
    assert full == MAX_HALF_OPEN + 1
    assert _enter_proved(world, ("198.51.100.99", 1)), "a newcomer was shut out"
    assert len(board.guests) == full
    assert board._admission._half_open["192.0.2.0"] == MAX_HALF_OPEN_PER_SOURCE - 1
    assert _server(world).totals().drops["half_open_replaced"] == 1
    # Who has the most gets no more.
    assert _enter_proved(world, ("192.0.2.1", 999)) == []
    assert _server(world).totals().drops["half_open_full"] == 1
    # A known client does not even take anybody's place.
    world.start_client()
    assert world.run_until(lambda: _server(world).connects == 2, 2.0) < 0.5
    assert _server(world).totals().drops["half_open_replaced"] == 1


def test_other_versions_are_answered_a_few_times_a_second(world: World) -> None:
    strange = bytearray(_initial(world))
    strange[1:5] = b"\x6b\x33\x43\xcf"
    answers = [answer for _ in range(100) for answer in _knock(world, ("203.0.113.1", 1), bytes(strange))]
    assert len(answers) == 10
    for data, _to in answers:
        assert data[1:5] == bytes(4)
        assert b"\x00\x00\x00\x01" in data[5:]
        assert len(data) < len(strange)
    assert _knock(world, ("203.0.113.2", 1), bytes(strange[:1199])) == []
    world.now += 1
    assert _knock(world, ("203.0.113.2", 1), bytes(strange[:1199])) == []
    assert len(_knock(world, ("203.0.113.2", 1), bytes(strange))) == 1
    # A Version Negotiation is never answered with another.
    strange[1:5] = bytes(4)
    assert _knock(world, ("203.0.113.2", 1), bytes(strange)) == []
    assert not _server(world)._board.guests


def test_a_handshake_without_registration_is_ended(world: World) -> None:
    server = _server(world)
    link = world.client_endpoint.connect(SERVER, world.now)
    place: Address = ("203.0.113.5", 5)
    for _ in range(6):
        for data, _to in link.seal([], world.now)[0]:
            server.receive(arrivals(place, data), world.now)
        for data, to in server.flush(world.now):
            if to == place:
                link.open(arrivals(SERVER, data), world.now)
        link.events()
    taken = link.seal([b"\0" + packet(1)], world.now)
    assert server.receive(arrivals(place, *[data for data, _ in taken[0]]), world.now) == []
    assert server.totals().drops["not_registered"] == 1
    assert len(server._board.guests) == 1
    world.client.close(world.now)
    world.run(6)
    assert not server._board.guests
    assert any("no registration in time" in text for text in world.states("server"))
