# SPDX-License-Identifier: GPL-3.0-or-later
"""Retry and Version Negotiation: a client proves its address, and no answer is larger than what it answers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import encode_quic_retry, pull_quic_header
from hypothesis import given, settings
from hypothesis import strategies as st
from mpquic.core import wire
from mpquic.core.connection import Established, Retried
from mpquic.quic import ServerEndpoint
from mpquic.quic.retry import LIFETIME, RetryTokens
from parties import CLIENT, Party, certified, ends
from simulation import SERVER, arrivals

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.core.types import Address
    from mpquic.quic import ClientEndpoint
    from mpquic.quic.link import Link

NOW = 5000.0
V6: Address = ("2001:db8::1", 50000, 0, 0)


@pytest.fixture
def server(tmp_path: Path) -> Party:
    return certified("mpquic-server")


def _initial(link: Link, now: float) -> tuple[bytes, wire.LongHeader]:
    (data, _to), *_more = link.seal([], now)[0]
    header = wire.long_header(data)
    assert header is not None
    assert header.initial
    return data, header


def _both(tmp_path: Path, server: Party) -> tuple[ClientEndpoint, ServerEndpoint]:
    return ends(tmp_path, server, certified("client1"))


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("address", [CLIENT, V6])
def test_a_client_comes_back_with_its_token(tmp_path: Path, server: Party, address: Address, *, repeated: bool) -> None:
    """Also when it has repeated its Initial before the Retry came."""
    client_end, server_end = _both(tmp_path, server)
    now = NOW
    client = client_end.connect(SERVER, now)
    first, header = _initial(client, now)
    assert header.token == b""
    assert server_end.redeem(header, address, now) is None
    if repeated:
        now = client.deadline()
        client.fire(now)
        client.seal([], now)
    answer = server_end.retry(header, address, now)
    assert len(answer) < len(first)
    client.open(arrivals(SERVER, answer), now + 0.1)
    second, returned = _initial(client, now + 0.1)
    retried = server_end.redeem(returned, address, now + 0.2)
    assert retried == Retried(header.destination, returned.destination)
    assert returned.destination != header.destination
    link = server_end.accept(returned.destination, now + 0.2, retried)
    assert link.session == client.session
    flight = [second]
    for _ in range(8):
        now += 0.02
        link.open(arrivals(address, *flight), now)
        client.open(arrivals(SERVER, *[data for data, _to in link.seal([], now)[0]]), now)
        flight = [data for data, _to in client.seal([], now)[0]]
    assert [event for event in client.events() if isinstance(event, Established)]
    assert [event for event in link.events() if isinstance(event, Established)]
    # What was sent before the Retry is owed by nobody.
    assert client.clock.outstanding <= 1
    client.control(b"registered at last")
    for data, _to in client.seal([], now)[0]:
        link.open(arrivals(address, data), now)
    assert "registered at last" in str(link.events())


def test_without_a_word_about_the_retry_a_client_breaks_off(tmp_path: Path, server: Party) -> None:
    """RFC 9000 section 7.3: what a Retry said is authenticated by transport parameters."""
    client_end, server_end = _both(tmp_path, server)
    client = client_end.connect(SERVER, NOW)
    _first, header = _initial(client, NOW)
    client.open(arrivals(SERVER, server_end.retry(header, CLIENT, NOW)), NOW)
    second, returned = _initial(client, NOW)
    link = server_end.accept(returned.destination, NOW)
    link.open(arrivals(CLIENT, second), NOW)
    client.open(arrivals(SERVER, *[data for data, _to in link.seal([], NOW)[0]]), NOW)
    assert "original_destination_connection_id does not match" in str(client.events())


def test_a_congestion_window_is_not_left_with_what_came_before_the_retry(tmp_path: Path, server: Party) -> None:
    client_end, server_end = _both(tmp_path, server)
    client_end._configuration.congestion_control_algorithm = "mpquic-cubic"
    client = client_end.connect(SERVER, NOW)
    _first, header = _initial(client, NOW)
    now = client.deadline()
    client.fire(now)
    client.seal([], now)
    client.open(arrivals(SERVER, server_end.retry(header, CLIENT, now)), now)
    client.seal([], now)
    loss = client._connection._loss
    known = [packet.sent_bytes for space in loss.spaces for packet in space.sent_packets.values() if packet.in_flight]
    assert len(known) == 1
    assert loss.bytes_in_flight == sum(known)


# --- tokens ----------------------------------------------------------------------------------------------------------


def _token(server_end: ServerEndpoint, address: Address = CLIENT, now: float = NOW) -> wire.LongHeader:
    """Return the header with which a client comes back."""
    header = wire.LongHeader(1, b"original", b"clientid", initial=True)
    answer = pull_quic_header(Buffer(data=server_end.retry(header, address, now)), 8)
    assert answer.destination_cid == header.source
    return wire.LongHeader(1, answer.source_cid, header.source, initial=True, token=answer.token)


@pytest.fixture
def listener(tmp_path: Path, server: Party) -> ServerEndpoint:
    return _both(tmp_path, server)[1]


@pytest.mark.parametrize("age", [0.0, 0.001, 5.0, LIFETIME])
def test_a_token_is_good_for_a_while(listener: ServerEndpoint, age: float) -> None:
    header = _token(listener)
    assert listener.redeem(header, CLIENT, NOW + age) == Retried(b"original", header.destination)


@pytest.mark.parametrize("age", [LIFETIME + 0.01, 60.0, 1e9, -0.01])
def test_and_not_for_longer(listener: ServerEndpoint, age: float) -> None:
    assert listener.redeem(_token(listener), CLIENT, NOW + age) is None


@pytest.mark.parametrize("address", [("198.51.100.2", 50000), ("198.51.100.1", 50001), ("198.51.100.15", 0), V6])
def test_a_token_is_good_for_one_address_and_port(listener: ServerEndpoint, address: Address) -> None:
    assert listener.redeem(_token(listener), address, NOW) is None


def test_a_token_is_good_for_one_connection_id(listener: ServerEndpoint) -> None:
    header = _token(listener)
    moved = wire.LongHeader(1, b"elsewher", header.source, initial=True, token=header.token)
    assert listener.redeem(moved, CLIENT, NOW) is None


def test_every_bit_of_a_token_counts(listener: ServerEndpoint) -> None:
    header = _token(listener)
    for bit in range(8 * len(header.token)):
        token = bytearray(header.token)
        token[bit // 8] ^= 1 << bit % 8
        forged = wire.LongHeader(1, header.destination, header.source, initial=True, token=bytes(token))
        assert listener.redeem(forged, CLIENT, NOW) is None, f"bit {bit}"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=1300), st.binary(min_size=1, max_size=20))
def test_junk_is_no_token(token: bytes, source: bytes) -> None:
    assert RetryTokens().redeem(token, source, CLIENT, NOW) is None


def test_tokens_of_another_process_are_none(listener: ServerEndpoint) -> None:
    header = _token(listener)
    assert RetryTokens().redeem(header.token, header.destination, CLIENT, NOW) is None


def test_a_new_endpoint_honours_tokens_of_the_one_before(tmp_path: Path, listener: ServerEndpoint) -> None:
    """A reload between a Retry and its answer costs no client a handshake."""
    again = ServerEndpoint(identity=certified("mpquic-server").files(tmp_path), tun_mtu=1300)
    assert again.redeem(_token(listener), CLIENT, NOW) is not None


def test_no_nonce_comes_twice() -> None:
    tokens = RetryTokens()
    assert len({tokens.issue(b"original", b"newsource", CLIENT, NOW)[:8] for _ in range(1000)}) == 1000


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(8, 21))
def test_a_retry_is_smaller_than_any_initial(listener: ServerEndpoint, length: int) -> None:
    header = wire.LongHeader(1, bytes(range(length)), bytes(20), initial=True)
    answer = listener.retry(header, V6, NOW)
    assert len(answer) < 120 < wire.MIN_INITIAL
    parsed = wire.long_header(answer)
    assert parsed is not None
    assert not parsed.initial


@pytest.mark.parametrize(("destination", "source"), [(0, 0), (8, 8), (20, 20), (255, 255), (255, 0), (0, 255)])
def test_version_negotiation_is_smaller_than_what_could_begin_a_connection(
    listener: ServerEndpoint, destination: int, source: int
) -> None:
    """RFC 9000 section 6.1: only datagrams of 1200 bytes are answered. RFC 8999: ids of other versions may be long."""
    theirs, ours = random.Random(1).randbytes(destination), random.Random(2).randbytes(source)
    answer = listener.versions(wire.LongHeader(0x1A2A3A4A, theirs, ours))
    assert len(answer) == 7 + destination + source + 4 < wire.MIN_INITIAL
    parsed = wire.long_header(answer)
    assert parsed == wire.LongHeader(0, ours, theirs)
    assert answer[-4:] == wire.VERSION_1.to_bytes(4, "big")


@pytest.mark.parametrize("size", [52, 512, 900, 1100, 1180, 1300])
def test_no_token_makes_a_client_spin(tmp_path: Path, server: Party, size: int) -> None:
    """One that leaves no room for an Initial is not repeated: what is due could never leave."""
    client_end, _server_end = _both(tmp_path, server)
    now = 100.0
    client = client_end.connect(SERVER, now)
    header = wire.long_header(client.seal([], now)[0][0][0])
    assert header is not None
    retry = encode_quic_retry(1, b"retried1", header.source, header.destination, bytes(size))
    client.open(arrivals(SERVER, retry), now)
    client.seal([], now)
    keys = CryptoPair()
    keys.setup_initial(cid=b"retried1", is_client=False, version=1)
    start = b"\xc3\0\0\0\1\x08" + header.source + b"\x08retried1\0" + (0x4000 | 4 + 1100 + 16).to_bytes(2) + bytes(4)
    client.open(arrivals(SERVER, keys.encrypt_packet(start, b"\1".ljust(1100, b"\0"), 0)), now)
    start_of_wait = now
    for _wake_up in range(200):
        now = max(now, client.deadline())
        client.fire(now)
        client.seal([], now)
    assert now - start_of_wait > 0.1, "it wakes up again and again, at one instant"
