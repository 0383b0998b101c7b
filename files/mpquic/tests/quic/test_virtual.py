# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol in virtual time: real QUIC, simulated network."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpquic.core import wire
from mpquic.core.roster import Roster
from mpquic.core.server import ServerTunnel
from mpquic.quic import ClientEndpoint, Identity, ServerEndpoint, Trust, spki_pin
from simulation import SERVER, World, arrivals, identity, packet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def numbers() -> Iterator[bytes]:
    return (packet(number) for number in itertools.count())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _both_up(world: World) -> bool:
    return world.client.state == "up" and world.server is not None and world.server.state == "up"


def test_handshake_and_packets_both_ways(world: World) -> None:
    took = world.run_until(lambda: _both_up(world), 1.0)
    assert took < 0.1
    assert world.server is not None
    assert world.client.session == world.server.session
    world.from_client(*[packet(n, 1300) for n in range(64)])
    world.from_server(*[packet(n, 60) for n in range(64)])
    world.run(0.1)
    assert [data for _, data in world.at_server] == [packet(n, 1300) for n in range(64)]
    assert [data for _, data in world.at_client] == [packet(n, 60) for n in range(64)]
    assert world.client.counters.tx_bytes == world.server.totals().rx_bytes == 64 * 1300
    assert not world.client.counters.drops
    assert not world.server.totals().drops


def test_same_seed_same_run(tmp_path: Path) -> None:
    def trace() -> list[tuple[float, str, str]]:
        world = World(tmp_path, seed=7)
        world.up.loss = world.down.loss = 0.3
        world.run(20)
        return [(round(at, 6), who, what) for at, who, what in world.history]

    assert trace() == trace()


def test_an_idle_tunnel_stays_up_at_little_cost(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    session = world.client.session
    before = world.wire["datagrams"]
    world.run(600)
    assert world.client.session == session
    assert world.client.connects == 1
    assert 2 * 115 < world.wire["datagrams"] - before < 2 * 130


@pytest.mark.parametrize("direction", ["up", "down", "both"])
@pytest.mark.parametrize("talker", ["client", "server", "nobody"])
def test_silent_black_hole(world: World, direction: str, talker: str) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    source = numbers()
    if talker == "client":
        world.every(0.01, lambda: world.from_client(next(source)))
    elif talker == "server":
        world.every(0.01, lambda: world.from_server(next(source)))
    world.run(7)
    world.up.cut = direction in {"up", "both"}
    world.down.cut = direction in {"down", "both"}
    took = world.run_until(lambda: world.client.state != "up", 12)
    # A talking client notices by its own packets; a silent one by its next keepalive, or by the server's goodbye.
    assert took < (1.8 if talker == "client" else 6.8)
    world.up.cut = world.down.cut = False
    assert world.run_until(lambda: _both_up(world), 10) < 6


@pytest.mark.slow
def test_losses_are_no_reason_to_give_up(world: World) -> None:
    world.up.loss = world.down.loss = 0.25
    world.run_until(lambda: _both_up(world), 10)
    session = world.client.session
    world.every(0.02, lambda: world.from_client(packet(1)))
    world.run(120)
    assert world.client.session == session


def test_losses_on_an_idle_tunnel(world: World) -> None:
    world.up.loss = world.down.loss = 0.2
    world.run_until(lambda: _both_up(world), 10)
    session = world.client.session
    world.run(600)
    assert world.client.session == session


def test_jitter_duplicates_and_reordering(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    for way in (world.up, world.down):
        way.jitter, way.duplicate = 0.01, 0.3
    source = numbers()
    world.every(0.002, lambda: world.from_client(next(source)))
    world.run(8)
    got = [data for _, data in world.at_server]
    assert len(got) == len(set(got))
    assert len(got) > 3960
    assert world.client.connects == 1


@pytest.mark.parametrize("refusals", [True, False])
def test_server_killed_and_started_again(world: World, *, refusals: bool) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    source = numbers()
    world.every(0.02, lambda: world.from_client(next(source)))
    world.run(7)
    first = world.client.session
    world.server = None
    world.down.cut = not refusals
    world.run(0.5)
    world.down.cut = False
    world.start_server()
    assert world.run_until(lambda: _both_up(world), 5) < (1.5 if refusals else 2.0)
    assert world.client.session != first


@pytest.mark.parametrize(("refusals", "least", "most"), [(True, 0.3, 0.5), (False, 1.4, 1.7)])
def test_a_closed_port_is_noticed_sooner(world: World, *, refusals: bool, least: float, most: float) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    source = numbers()
    world.every(0.02, lambda: world.from_client(next(source)))
    world.run(7)
    world.server = None
    world.down.cut = not refusals
    assert least < world.run_until(lambda: world.client.state != "up", 3) < most


def test_server_away_for_an_hour_then_back(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.server = None
    world.run(3600)
    attempts = sum(text.startswith("connecting") for text in world.states("client"))
    assert 3600 / 40 < attempts < 3600 / 5
    world.start_server()
    assert world.run_until(lambda: _both_up(world), 36) < 36


def test_client_restart_supersedes_at_once(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    old = world.client
    server = world.server
    assert server is not None
    world.start_client()
    assert world.run_until(lambda: server.connects == 2, 1.0) < 0.2
    assert world.client is not old
    assert server.session == world.client.session
    world.from_server(packet(1))
    world.run(0.1)
    assert [data for _, data in world.at_client] == [packet(1)]


def test_what_waits_for_one_connection_leaves_by_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, algorithm="cubic")
    world.up.delay = world.down.delay = 0.005
    world.run_until(lambda: _both_up(world), 1.0)
    server = world.server
    assert server is not None
    world.from_server(*[packet(n, 1300) for n in range(1000)])
    world.start_client()
    assert world.run_until(lambda: server.connects == 2, 1.0) < 0.09
    world.run(0.5)
    totals = server.totals()
    assert "no_connection" not in totals.drops
    got = [data for _, data in world.at_client]
    # What had left by the old connection, and what waited too long, is lost; the rest came by the new one, in order.
    assert got == sorted(got)
    assert 0 < len(got) <= totals.tx_packets == 1000 - totals.drops["queue_age"]
    world.from_server(packet(2000))
    world.run(0.2)
    assert world.at_client[-1][1] == packet(2000)


def test_a_superseded_client_backs_off(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.run(10)
    old, first = world.client, world.address
    world.start_client()
    world.on_stray = lambda data, to: farewell.append(data) if to == first else None
    farewell: list[bytes] = []
    world.run_until(lambda: _both_up(world), 1.0)
    world.run(1.1)
    old.receive(arrivals(SERVER, *farewell), world.now)
    assert (old.state, old.reason) == ("waiting", "server closed: superseded")
    assert not old.needs_socket


def test_polite_end_of_the_server(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.run(6)
    assert world.server is not None
    world.server.close(world.now)
    assert world.run_until(lambda: world.client.state != "up", 1.0) < 0.1
    assert world.client.reason == "server closed: server stops"


def test_polite_end_of_the_client(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.client.close(world.now)
    world.run(0.1)
    assert world.server is not None
    assert (world.server.state, world.server.reason) == ("listening", "client closed: client stops")


def test_server_forgets_a_client_that_vanished(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.up.cut = world.down.cut = True
    world.every(0.001, lambda: world.from_server(packet(1)))
    world.run(5.5)
    assert world.server is not None
    assert world.server.state == "listening"
    assert "no acknowledgement" in world.server.reason
    assert world.server.totals().drops["no_connection"] > 0


def test_idle_client_that_vanished(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.run(7)
    world.up.cut = world.down.cut = True
    world.run(36)
    assert world.server is not None
    assert (world.server.state, world.server.reason) == ("listening", "Idle timeout")


def test_new_address_behind_nat(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    source = numbers()
    world.every(0.01, lambda: world.from_client(next(source)))
    world.every(0.01, lambda: world.from_server(packet(1)))
    world.run(1)
    session = world.client.session
    world.address = ("198.51.100.77", 4321)
    world.run(2)
    assert world.client.session == session
    assert world.server is not None
    assert world.server.connection is not None
    assert world.server.connection.peer == ("198.51.100.77", 4321)
    arrived = len(world.at_client)
    world.run(1)
    assert len(world.at_client) - arrived > 95


def test_oversize_packets_block_nothing(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.from_client(packet(1), packet(2, 1301), packet(3, 9000), packet(4, 1300), packet(5))
    world.run(0.1)
    assert [data for _, data in world.at_server] == [packet(1), packet(4, 1300), packet(5)]
    assert world.drops() == {"too_big": 2}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["cubic", "reno"])
def test_loss_based_control_waits_in_our_bounded_queue(tmp_path: Path, algorithm: str) -> None:
    world = World(tmp_path, algorithm=algorithm)
    world.run_until(lambda: _both_up(world), 1.0)
    world.up.loss = 0.02
    source = numbers()
    world.every(0.005, lambda: world.from_client(*[next(source) for _ in range(30)]))
    world.run(4)
    drops = world.client.counters.drops
    assert drops["queue_age"] + drops["queue_full"] > 0
    assert len(world.client._lane._queue) <= 1024
    sent = {data: index * 0.005 / 30 for index, data in zip(range(60000), numbers(), strict=False)}
    start = world.at_server[0][0] - 0.02 - sent[world.at_server[0][1]]
    worst = max(at - start - sent[data] for at, data in world.at_server)
    assert worst < 0.2
    world.up.loss = 0.0
    world.run(0.1)
    assert world.client.state == "up"


@pytest.mark.slow
def test_tunnel_control_does_not_mind_loss(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.up.loss = 0.02
    source = numbers()
    world.every(0.005, lambda: world.from_client(*[next(source) for _ in range(10)]))
    world.run(10)
    assert not world.client.counters.drops
    assert len(world.at_server) > 0.97 * world.client.counters.tx_packets


def test_a_burst_leaves_at_once(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.run(10)
    world.from_client(*[packet(n, 1300) for n in range(64)])
    assert len(world.client.flush(world.now)) == 64


@pytest.mark.slow
def test_memory_of_a_dead_path_is_bounded(world: World) -> None:
    world.run_until(lambda: _both_up(world), 1.0)
    world.up.cut = True
    world.from_client(packet(0))
    for _ in range(60):
        world.from_client(*[packet(n, 1300) for n in range(1000)])
        world.client.flush(world.now)
    assert world.client.connection is not None
    assert world.client.connection.clock.outstanding <= 32768 + 8
    assert world.client.counters.drops["queue_full"] > 0


def test_wrong_pin(tmp_path: Path) -> None:
    other = identity(tmp_path, "other")[1]
    world = World(tmp_path, trust=Trust(pins=(spki_pin(other),)))
    world.every(0.01, lambda: world.from_client(packet(1)))
    world.every(0.01, lambda: world.from_server(packet(2)))
    world.run(120)
    assert world.client.connects == 0
    assert world.at_client == []
    assert world.at_server == []
    assert "server key sha256:" in " ".join(world.states("client"))
    assert sum(text.startswith("connecting") for text in world.states("client")) < 30


def test_nothing_is_accepted_from_a_server_before_its_key_is_judged(world: World, tmp_path: Path) -> None:
    """A server may send data together with its first flight; an impostor's must not reach the TUN."""
    client = world.client
    client.socket_ready(SERVER, world.now)
    hello = client.flush(world.now)[0][0]
    header = wire.long_header(hello)
    assert header is not None
    impostor = ServerEndpoint(identity=identity(tmp_path, "other")[0], tun_mtu=1300)
    link = impostor.accept(header.destination, world.now)
    link.open(arrivals(world.address, hello), world.now)
    flight = link.seal([b"\0" + packet(1)], world.now)[0]
    assert client.receive(arrivals(SERVER, *[data for data, _ in flight]), world.now) == []
    assert client.counters.drops["not_registered"] == 1
    assert client.connects == 0


def test_either_pin_of_a_rotation(tmp_path: Path) -> None:
    world = World(tmp_path)
    old = next(iter(world.client_endpoint._pins))
    new_identity, certificate = identity(tmp_path, "new")
    world = World(tmp_path, trust=Trust(pins=(old, spki_pin(certificate))))
    world.identity = new_identity
    world.start_server()
    world.run_until(lambda: _both_up(world), 1.0)


def test_a_client_without_trust_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a pin nor a CA"):
        World(tmp_path, trust=Trust())


@pytest.mark.parametrize(("name", "up"), [("mpquic-server", True), ("other.example", False)])
def test_ca_and_server_name(tmp_path: Path, name: str, *, up: bool) -> None:
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mpquic-server")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, start, start + dt.timedelta(days=36500))
    names = x509.SubjectAlternativeName([x509.DNSName("mpquic-server")])
    pem = builder.add_extension(names, critical=False).sign(key, None).public_bytes(Encoding.PEM)
    (tmp_path / "ca.pem").write_bytes(pem)
    (tmp_path / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    world = World(tmp_path, trust=Trust(ca_file=tmp_path / "ca.pem", server_name=name))
    world.identity = Identity(tmp_path / "ca.pem", tmp_path / "ca.key")
    world.start_server()
    world.run(1)
    assert _both_up(world) is up
    assert up or "server certificate is for mpquic-server, not for other.example" in " ".join(world.states("client"))


def test_unknown_ca(tmp_path: Path) -> None:
    other = identity(tmp_path, "other")[1]
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(other.public_bytes(Encoding.PEM))
    world = World(tmp_path, trust=Trust(ca_file=ca_file, server_name="mpquic-server"))
    world.run(5)
    assert world.client.connects == 0
    assert "server certificate not issued by the CA" in " ".join(world.states("client"))


def test_path_that_takes_no_initial_is_never_up(world: World) -> None:
    world.up.mtu = 1200 + 27
    world.run(30)
    assert world.client.connects == 0
    assert "no answer" in " ".join(world.states("client"))


def test_missing_interface_is_a_state(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.no_socket = "interface wwan0 does not exist"
    world.start_client()
    world.run(60)
    assert (world.client.state, world.client.reason) == ("waiting", "interface wwan0 does not exist")
    world.no_socket = None
    assert world.run_until(lambda: _both_up(world), 5) < 2.5


# --- the server's front door ---------------------------------------------------------------------------------------


def _initial(world: World) -> bytes:
    connection = world.client_endpoint.connect(SERVER, world.now)
    data: bytes = connection.seal([], world.now)[0][0][0]
    return data


def test_short_initials_start_nothing(world: World) -> None:
    assert world.server is not None
    world.server.receive(arrivals(("203.0.113.1", 1), _initial(world)[:1199]), world.now)
    assert not world.server._board.guests
    assert dict(world.server.totals().drops) == {"initial_small": 1}


def test_answers_to_an_initial_are_no_amplification(world: World) -> None:
    assert world.server is not None
    sent = 0
    initial = _initial(world)
    world.server.receive(arrivals(("203.0.113.9", 9), initial), world.now)
    for _ in range(200):
        sent += sum(len(data) for data, to in world.server.flush(world.now) if to[0] == "203.0.113.9")
        world.now += 0.05
        world.server.fire(world.now)
    assert 0 < sent <= 3 * len(initial)


def _quiet_server(tmp_path: Path) -> ServerTunnel:
    return ServerTunnel(ServerEndpoint(identity=identity(tmp_path)[0], tun_mtu=1300), Roster([]), 0.0)


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize(("limit", "up"), [(None, False), (1303, False), (1304, True)])
def test_a_peer_that_takes_only_small_datagrams(world: World, role: str, limit: int | None, *, up: bool) -> None:
    """1304: an inner packet of the MTU with its context, and type and length of the frame (RFC 9221 section 4)."""
    endpoint = ServerEndpoint(identity=world.identity, tun_mtu=1300)
    limited = endpoint if role == "server" else world.client_endpoint
    limited._configuration.max_datagram_frame_size = limit
    server = world.server = ServerTunnel(endpoint, Roster(world.members), world.now)
    world.run(0.2)
    assert (server.state == "up") is up
    assert server.connects == int(up)
    heard = f"peer takes datagrams of {(limit or 3) - 3} bytes, 1301 are needed"
    heard = heard if role == "server" else "server closed: refused"
    assert (heard in " ".join(world.states("client"))) is not up


def test_packets_of_a_refused_connection_are_dropped(world: World) -> None:
    """They come with the end of the handshake, together with the reason for the refusal."""
    world.run_until(lambda: _both_up(world), 1.0)
    server = world.server
    assert server is not None
    active = server.connection
    endpoint = ClientEndpoint(trust=Trust(pins=tuple(world.client_endpoint._pins)), identity=None, tun_mtu=1300)
    endpoint._configuration.max_datagram_frame_size = 1000
    address = ("203.0.113.1", 1)
    link = endpoint.connect(SERVER, world.now)
    server.receive(arrivals(address, *[data for data, _ in link.seal([], world.now)[0]]), world.now)
    flight = [data for data, to in server.flush(world.now) if to == address]
    link.open(arrivals(SERVER, *flight), world.now)
    datagrams, taken = link.seal([b"\0" + packet(1)], world.now)
    assert taken == 1
    assert server.receive(arrivals(address, *[data for data, _ in datagrams]), world.now) == []
    assert server.totals().drops == {"not_registered": 1, "refused": 1}
    assert server.connection is active
    assert server.connects == 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=1400), max_size=8), st.booleans(), st.binary(min_size=8, max_size=8))
def test_junk_never_raises(tmp_path: Path, junk: list[bytes], initial: bool, cid: bytes) -> None:  # noqa: FBT001
    server = _quiet_server(tmp_path)
    head = b"\xc0\x00\x00\x00\x01\x08" + cid + b"\x08" + cid + b"\x00\x44\xd0"
    batch = arrivals(("203.0.113.1", 1), *[head + data + bytes(1200) if initial else data for data in junk])
    assert server.receive(batch, 0.0) == []
    assert server.flush(0.0) == []
    assert not server._board.guests
    assert not server._board._by_cid
    server.fire(1.0)
    assert server.state == "listening"


@pytest.mark.slow
def test_mutated_datagrams_do_not_disturb(world: World) -> None:
    source = numbers()
    world.every(0.01, lambda: world.from_client(next(source)))
    world.every(0.01, lambda: world.from_server(next(source)))

    def mutate(data: bytes) -> bytes:
        broken = bytearray(data)
        for _ in range(world.random.randint(1, 4)):
            broken[world.random.randrange(len(broken))] ^= 1 << world.random.randrange(8)
        return bytes(broken[: world.random.randint(1, len(broken))])

    world.forge = mutate
    world.run(20)
    assert world.client.connects == 1
    assert world.client.state == "up"
    assert len(world.at_server) > 1900
