# SPDX-License-Identifier: GPL-3.0-or-later
"""Who becomes a tunnel, in virtual time: keys, registration, renewal and what a server takes over by a reload."""

from __future__ import annotations

import itertools
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from mpquic.core.client import Settings
from mpquic.core.dial import Dial
from mpquic.core.offload import BareCodec
from mpquic.core.registration import ClientRegistration
from mpquic.core.roster import Member, Roster
from mpquic.quic import ClientEndpoint, ServerEndpoint, Trust, spki_pin
from simulation import CLIENT_TUN, PREFIXES, SERVER, World, identity, packet

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.core.types import Frame
    from mpquic.quic import Identity


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _both_up(world: World) -> bool:
    return world.client.state == "up" and world.server is not None and world.server.state == "up"


def _endpoint(world: World, shown: Identity | None) -> ClientEndpoint:
    return ClientEndpoint(trust=Trust(pins=tuple(world.client_endpoint._pins)), identity=shown, tun_mtu=1300)


def _listener(world: World) -> ServerEndpoint:
    return ServerEndpoint(identity=world.identity, tun_mtu=1300)


def _traffic(world: World) -> list[int]:
    """Let packets go both ways every 10 ms; return the list that says how many were sent each way."""
    sent = [0]

    def go() -> None:
        world.from_client(packet(sent[0]))
        world.from_server(packet(sent[0]))
        sent[0] += 1

    world.every(0.01, go)
    return sent


@pytest.mark.parametrize("kind", ["none", "unknown"])
def test_a_stranger_is_told_and_gets_nothing(world: World, tmp_path: Path, kind: str) -> None:
    shown = None if kind == "none" else identity(tmp_path, "stranger")[0]
    world.client_endpoint = _endpoint(world, shown)
    world.start_client()
    _traffic(world)
    world.run(3)
    assert world.at_client == []
    assert world.at_server == []
    assert world.client.connects == 0
    expected = "no client certificate" if kind == "none" else "is no peer here"
    assert f"server refused: {expected}" in " ".join(world.states("client")).replace("key sha256:", "").replace(
        world_pin(shown), ""
    ).replace("  ", " ")
    assert any(text.startswith("refused: ") and expected in text for text in world.states("server"))


def world_pin(shown: Identity | None) -> str:
    from cryptography import x509  # noqa: PLC0415

    if shown is None:
        return ""
    return spki_pin(x509.load_pem_x509_certificate(shown.cert_file.read_bytes())).removeprefix("sha256:")


@pytest.mark.parametrize(
    ("prefixes", "why"),
    [
        (("10.200.9.1/32",), "10.200.9.1 is not an address of this key's peer here"),
        (("10.200.1.1/32", "172.16.9.0/30"), "172.16.9.0/30 is not within the prefixes of client1 here"),
        (("10.200.1.1/32", "172.16.1.0/29"), "172.16.1.0/29 is not within"),
        (("10.200.7.1/32",), "10.200.7.1 is not an address of this key's peer here"),
    ],
)
def test_a_key_registers_only_what_it_owns(world: World, prefixes: tuple[str, ...], why: str) -> None:
    world.members.append(Member("client7", (ip_network("10.200.7.0/30"),), frozenset({"sha256:" + "0" * 64})))
    world.start_server()
    world.client._settings = Settings(CLIENT_TUN, tuple(map(ip_network, prefixes)))
    _traffic(world)
    world.run(3)
    assert world.client.connects == 0
    assert why in " ".join(world.states("client"))
    assert why in " ".join(world.states("server"))
    assert world.at_server == []
    assert world.at_client == []


def test_the_address_in_the_lan_of_the_peer_may_be_registered(world: World) -> None:
    world.client._settings = Settings(CLIENT_TUN, tuple(map(ip_network, ("10.200.1.1/32", "172.16.1.1/32"))))
    world.run_until(lambda: _both_up(world), 1.0)


def test_inner_addresses_are_held_to_the_key(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    good = [packet(1), packet(2, source="172.16.1.2")]
    spoofed = ["10.200.1.2", "10.200.9.1", "192.0.2.1", "172.16.1.4", "127.0.0.1", "224.0.0.1", "0.0.0.0"]
    world.from_client(*good, *[packet(9, source=source) for source in spoofed])
    world.run(0.1)
    assert [data for _, data in world.at_server] == good
    assert world.client.counters.drops == {"source": len(spoofed)}
    # A client without our gate gets no further.
    world.client._outbound.passing = lambda reads, _at, _drops: reads  # type: ignore[method-assign]
    world.from_client(*[packet(9, source=source) for source in spoofed])
    world.run(0.1)
    assert [data for _, data in world.at_server] == good
    assert world.server is not None
    assert world.server.totals().drops == {"source": 3, "martian": 4}


def test_a_server_cannot_speak_as_the_client_nor_to_its_neighbours(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    assert world.server is not None
    session = world.server.sessions["client1"]
    assert session.guest is not None
    connection = session.guest.connection
    wrong = [
        packet(1, source="10.200.1.1", destination="172.16.1.1"),
        packet(2, source="203.0.113.1", destination="192.168.0.1"),
        packet(3, source="127.0.0.1", destination="10.200.1.1"),
    ]
    right = packet(4, source="203.0.113.1", destination="172.16.1.1")
    session.path.lane.offer([*wrong, right], connection, world.now)
    world.server._touched[session.guest] = None
    world.run(0.1)
    assert len(world.at_client) == 1
    assert world.client.counters.drops == {"source": 1, "destination": 1, "martian": 1}


def test_packets_go_to_the_owner_of_their_destination(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.from_server(packet(1, source="198.51.100.9"), packet(2, source="172.16.1.1"))
    world.run(0.1)
    assert len(world.at_client) == 1
    assert world.server is not None
    assert world.server.totals().drops == {"no_peer": 1}


def test_renewal_loses_nothing(world: World, tmp_path: Path) -> None:
    shown, certificate = identity(tmp_path, "next")
    member = world.members[0]
    world.members[0] = Member(member.name, member.allowed, member.pins | {spki_pin(certificate)})
    world.start_server()
    world.run_until(lambda: _both_up(world), 1.0)
    assert world.server is not None
    world.up.jitter = world.down.jitter = 0.002
    sent = _traffic(world)
    world.run(1)
    session = world.client.session
    world.client.renew(_endpoint(world, shown).connect, world.now, redial=True)
    world.run(5)
    assert world.client.session != session
    assert world.client.connects == 2
    assert world.server.connects == 2
    assert world.server.session == world.client.session
    key = world.server.connection
    assert key is not None
    assert key.claimed == spki_pin(certificate)
    # The old key is no longer accepted, and nobody notices.
    world.server.configure(
        _listener(world), Roster([Member(member.name, member.allowed, frozenset({spki_pin(certificate)}))]), world.now
    )
    world.run(2)
    world._heap.clear()
    last = sent[0]
    world.run(0.0)
    assert world.client.connects == 2
    assert last > 700
    for got in (world.at_server, world.at_client):
        assert [data for _, data in got][: last - 10] == [packet(n) for n in range(last - 10)]
    assert not world.client.counters.drops
    assert not world.server.totals().drops


def test_a_renewal_that_is_refused_leaves_the_tunnel_up(world: World, tmp_path: Path) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    session = world.client.session
    sent = _traffic(world)
    shown = identity(tmp_path, "stranger")[0]
    world.client.renew(_endpoint(world, shown).connect, world.now, redial=True)
    world.run(20)
    assert world.client.session == session
    assert world.client.connects == 1
    assert "renewal failed: server refused" in " ".join(world.states("client"))
    assert len(world.at_server) > sent[0] - 10


def _asked_every(world: World, interval: float) -> None:
    """Let the server ask for another connection on and on, on each that it has."""

    def ask() -> None:
        assert world.server is not None
        for guest in world.server._board.guests:
            guest.outdated = False
        world.server.ask_to_renew(16)

    world.every(interval, ask)


def test_a_server_that_asks_on_and_on_is_renewed_no_more_than_once_a_second(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    _asked_every(world, 0.05)
    world.run(5)
    assert 3 <= world.client.connects <= 6


def test_a_server_that_asks_on_and_on_overrides_no_back_off(world: World, tmp_path: Path) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    shown = identity(tmp_path, "stranger")[0]
    dialled = []
    connect = _endpoint(world, shown).connect
    world.client.renew(lambda remote, now: dialled.append(now) or connect(remote, now), world.now, redial=False)
    _asked_every(world, 0.05)
    world.run(20)
    # Back-off doubles from a quarter of a second on.
    assert 2 <= len(dialled) <= 12
    assert world.client.connects == 1
    assert world.client.state == "up"


def test_the_old_connection_stays_until_the_new_one_is_confirmed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process with the same key, whose CONFIRM never comes, takes nothing over."""
    world.run_until(lambda: _both_up(world), 1.0)
    assert world.server is not None
    server, session = world.server, world.server.session
    monkeypatch.setattr(Dial, "answered", lambda _dial, _data: None)
    world.client.renew(world.client_endpoint.connect, world.now, redial=True)
    world.run(1)
    assert server.sessions["client1"].guest is not None
    assert server.session == session
    world.from_server(packet(1))
    world.run(0.1)
    assert [data for _, data in world.at_client] == [packet(1)]
    world.run(6)
    assert server.session == session
    assert server.connects == 1


@pytest.mark.parametrize("change", ["removed", "pins", "prefixes"])
def test_who_is_a_peer_no_more_is_cut_at_once(world: World, change: str) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    assert world.server is not None
    member = world.members[0]
    others = {
        "removed": [],
        "pins": [Member(member.name, member.allowed, frozenset({"sha256:" + "1" * 64}))],
        "prefixes": [Member(member.name, (ip_network("10.200.1.1/32"),), member.pins)],
    }
    world.server.configure(_listener(world), Roster(others[change]), world.now)
    world.run(0.1)
    assert world.server.state == "listening"
    assert "server closed: no longer a peer" in " ".join(world.states("client"))
    world.from_server(packet(1))
    world.run(5)
    assert world.at_client == []
    assert world.server.connects == 1


def test_a_reload_that_keeps_a_peer_disturbs_nothing(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    assert world.server is not None
    session = world.server.session
    new = Member("client2", (ip_network("10.200.2.1/32"),), frozenset({"sha256:" + "2" * 64}))
    world.server.configure(_listener(world), Roster([new, *world.members]), world.now)
    world.from_server(packet(1))
    world.from_client(packet(2))
    world.run(1)
    assert world.server.session == world.client.session == session
    assert [data for _, data in world.at_client] == [packet(1)]
    assert [data for _, data in world.at_server] == [packet(2)]


def test_registration_survives_loss(tmp_path: Path) -> None:
    for seed in range(10):
        world = World(tmp_path, seed=seed)
        world.up.loss = world.down.loss = 0.3
        world.run_until(lambda world=world: _both_up(world), 30)  # type: ignore[misc]
        got = itertools.count()
        while not world.at_server or not world.at_client:
            world.from_client(packet(next(got)))
            world.from_server(packet(next(got)))
            world.run(0.1)


def test_a_legacy_client_is_known_by_its_network_and_address(tmp_path: Path) -> None:
    world = World(tmp_path)
    for networks, address, up in (
        (("198.51.100.0/24",), "10.200.1.1", True),
        (("203.0.113.0/24",), "10.200.1.1", False),
        (("198.51.100.0/24",), "10.200.9.1", False),
    ):
        world = World(tmp_path)
        member = Member("old1", (ip_network(f"{address}/32"),), sources=tuple(map(ip_network, networks)))
        endpoint = ServerEndpoint(identity=world.identity, tun_mtu=1300, legacy=True)
        from mpquic.core.server import ServerTunnel  # noqa: PLC0415

        world.server = ServerTunnel(endpoint, Roster([member]), world.now)
        world.server.attach(BareCodec())
        world.client_endpoint = ClientEndpoint(
            trust=Trust(pins=tuple(world.client_endpoint._pins)), identity=None, tun_mtu=1300, legacy=True
        )
        from mpquic.core.client import ClientTunnel  # noqa: PLC0415

        world.client = ClientTunnel(
            world.client_endpoint.connect,
            world.random.randbytes,
            world.now,
            Settings(CLIENT_TUN, PREFIXES, legacy=True),
        )
        world.client.attach(BareCodec())
        world.run(1)
        assert (world.server.state == "up") is up
        world.from_client(packet(1))
        world.from_server(packet(2))
        world.run(0.2)
        assert [data for _, data in world.at_server] == [packet(1)] * up
        assert [data for _, data in world.at_client] == [packet(2)] * up
        if up:
            assert "identity=none" in world.details("server")


def test_what_comes_together_with_the_registration_comes_too_early(world: World) -> None:
    link = world.client_endpoint.connect(SERVER, world.now)
    place = ("198.51.100.9", 9)
    assert world.server is not None

    def carry(*payloads: bytes) -> list[Frame]:
        assert world.server is not None
        sealed = link.seal(payloads, world.now)[0]
        frames = world.server.receive([(data, len(data), place) for data, _ in sealed], world.now)
        answers = [data for data, to in world.server.flush(world.now) if to == place]
        link.open([(data, len(data), SERVER) for data in answers], world.now)
        return frames

    carry()
    carry()
    registration = ClientRegistration(bytes(16), PREFIXES)
    link.control(registration.opening())
    assert carry(b"\0" + packet(1)) == []
    assert world.server.totals().drops["not_registered"] == 1
    assert carry(b"\0" + packet(2)) == [(packet(2),)]
