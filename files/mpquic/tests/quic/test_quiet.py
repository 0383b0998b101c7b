# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not happen: session tickets, early data, other versions, logs with secrets; much memory for strangers."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING

import pytest
from aioquic.quic.connection import MAX_EARLY_DATA, QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite, ExtensionType, SessionTicket
from mpquic.core import wire
from mpquic.core.connection import Closed
from mpquic.quic import ClientEndpoint, ServerEndpoint, private
from mpquic.quic.tunnel import TunnelConnection
from parties import CLIENT, Party, certified, ends, meet
from simulation import SERVER, arrivals

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.quic.link import Link


@pytest.fixture(scope="module")
def server() -> Party:
    return certified("mpquic-server")


class _Asker(TunnelConnection):
    """A client that would like to have a session ticket."""

    tickets: list[object]

    def _initialize(self, peer_cid: bytes) -> None:
        self.tickets = []
        super()._initialize(peer_cid)
        if self._is_client:
            self.tls.new_session_ticket_cb = self.tickets.append


def _ticket(parameters: bytes) -> SessionTicket:
    now = dt.datetime.now(dt.UTC)
    return SessionTicket(
        age_add=1,
        cipher_suite=CipherSuite.AES_128_GCM_SHA256,
        not_valid_after=now + dt.timedelta(days=1),
        not_valid_before=now - dt.timedelta(days=1),
        resumption_secret=bytes(32),
        server_name=None,
        ticket=b"ticket of a session",
        max_early_data_size=MAX_EARLY_DATA,
        other_extensions=[(ExtensionType.QUIC_TRANSPORT_PARAMETERS, parameters)],
    )


def test_no_session_tickets(tmp_path: Path, server: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpquic.quic.endpoint.TunnelConnection", _Asker)
    met = meet(*ends(tmp_path, server, certified("client1")))
    assert met.established("client") is not None
    assert isinstance(met.client._connection, _Asker)
    assert met.client._connection.tickets == []
    assert not met.server._connection.tls._session_resumed


def test_no_early_data(tmp_path: Path, server: Party) -> None:
    """A client that comes with a ticket and 0-RTT packets gets an ordinary handshake, and they are nobody's."""
    client_end, server_end = ends(tmp_path, server, certified("client1"))
    before = meet(client_end, server_end)
    assert before.established("client") is not None
    parameters = dict(before.client._connection.tls.received_extensions or [])[ExtensionType.QUIC_TRANSPORT_PARAMETERS]
    client_end._configuration.session_ticket = _ticket(parameters)
    client = client_end.connect(SERVER, 100.0)
    client._connection.send_datagram_frame(b"\0early")
    client._connection.send_stream_data(0, b"early")
    flight = [data for data, _to in client._connection.datagrams_to_send(100.0)]
    assert private.packet_space(client._connection).sent_packets, "the client does not even try"
    header = wire.long_header(flight[0])
    assert header is not None
    link = server_end.accept(header.destination, 100.0)
    early = link.open(arrivals(CLIENT, *flight), 100.0)
    assert early == []
    assert [event for event in link.events() if "ControlData" in repr(event)] == []
    assert not link._connection.tls.early_data_accepted
    assert not link._connection.tls._session_resumed
    assert not link._connection._cryptos[private.Epoch.ZERO_RTT].recv.is_valid()


def test_one_version(tmp_path: Path, server: Party) -> None:
    for endpoint in ends(tmp_path, server, certified("client1")):
        assert endpoint._configuration.supported_versions == [QuicProtocolVersion.VERSION_1]


def test_another_version_is_not_even_tried(tmp_path: Path, server: Party) -> None:
    """A client of version 2, which this library also has; and one that offers it in the handshake (RFC 9368)."""
    client_end, server_end = ends(tmp_path, server, certified("client1"))
    client_end._configuration.supported_versions = [QuicProtocolVersion.VERSION_2]
    link = server_end.accept(b"whatever", 100.0)
    link.open(arrivals(CLIENT, *[data for data, _to in client_end.connect(SERVER, 100.0).seal([], 100.0)[0]]), 100.0)
    assert link.seal([], 100.0) == ([], 0)
    client_end._configuration.supported_versions = [QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2]
    met = meet(client_end, server_end)
    assert met.established("server") is not None
    assert met.client._connection._version == met.server._connection._version == QuicProtocolVersion.VERSION_1


def test_nothing_is_written_and_no_secret_is_logged(
    tmp_path: Path, server: Party, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the environment asks for, and at the highest level of logging."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("SSLKEYLOGFILE", "QLOGDIR", "QLOG_DIR", "KEYLOG", "AIOQUIC_SECRETS_LOG"):
        monkeypatch.setenv(name, str(folder / name))
    monkeypatch.chdir(folder)
    secrets: set[bytes] = set()
    learn = QuicConnection._update_traffic_key

    def spy(self: QuicConnection, direction: object, epoch: object, cipher_suite: object, secret: bytes) -> None:
        secrets.add(secret)
        learn(self, direction, epoch, cipher_suite, secret)  # type: ignore[arg-type]

    monkeypatch.setattr(QuicConnection, "_update_traffic_key", spy)
    client = certified("client1")
    client_end, server_end = ends(tmp_path, server, client)
    with caplog.at_level(logging.DEBUG):
        met = meet(client_end, server_end)
    assert met.established("server") is not None
    assert len(secrets) == 4
    secrets |= {party.key.private_bytes_raw() for party in (server, client)}  # type: ignore[union-attr]
    assert caplog.text, "the library logs nothing at all"
    for secret in secrets:
        assert secret.hex() not in caplog.text
        assert repr(secret) not in caplog.text
    assert list(folder.iterdir()) == []
    for endpoint in (client_end, server_end):
        assert endpoint._configuration.quic_logger is None
        assert endpoint._configuration.secrets_log_file is None


# --- strangers cost little -------------------------------------------------------------------------------------------


def _crypto_frame(offset: int, data: bytes) -> bytes:
    return b"\x06" + (offset | 0x80000000).to_bytes(4, "big") + (len(data) | 0x4000).to_bytes(2, "big") + data


def _handshaking(tmp_path: Path, server: Party) -> tuple[Link, ClientEndpoint, ServerEndpoint]:
    client_end, server_end = ends(tmp_path, server, certified("client1"))
    return client_end.connect(SERVER, 100.0), client_end, server_end


def test_handshake_data_far_out_of_order_is_not_kept(tmp_path: Path, server: Party) -> None:
    client, _client_end, server_end = _handshaking(tmp_path, server)
    sender = client._connection._crypto_streams[private.Epoch.INITIAL].sender
    gap = private.MAX_HANDSHAKE + 1000
    sender.write(bytes(gap))
    sender._pending.subtract(0, gap)
    flight = [data for data, _to in client.seal([], 100.0)[0]]
    header = wire.long_header(flight[0])
    assert header is not None
    link = server_end.accept(header.destination, 100.0)
    link.open(arrivals(CLIENT, *flight), 100.0)
    assert [event.reason for event in link.events() if isinstance(event, Closed)] == ["too much crypto buffering"]
    receiver = link._connection._crypto_streams[private.Epoch.INITIAL].receiver
    assert len(receiver._buffer) <= private.MAX_HANDSHAKE


def test_a_handshake_message_without_an_end_is_not_kept(tmp_path: Path, server: Party) -> None:
    """A message may claim 16 MB (RFC 8446 section 4)."""
    client, _client_end, server_end = _handshaking(tmp_path, server)
    crypto = client._connection._crypto_streams[private.Epoch.INITIAL].sender
    crypto.__init__(stream_id=None, writable=True)  # type: ignore[misc]
    crypto.write(b"\x01\xff\xff\xff" + bytes(1 << 20))
    private.disable_pacer(client._connection)
    link: Link | None = None
    closed: list[Closed] = []
    now, most = 100.0, 0
    for _ in range(60):
        for data, _to in client.seal([], now)[0]:
            header = wire.long_header(data)
            assert header is not None
            link = link or server_end.accept(header.destination, now)
            link.open(arrivals(CLIENT, data), now)
            most = max(most, len(link._connection.tls._receive_buffer))
        assert link is not None
        closed += [event for event in link.events() if isinstance(event, Closed)]
        if closed:
            break
        client.open(arrivals(SERVER, *[data for data, _to in link.seal([], now)[0]]), now)
        now += 0.05
        client.fire(now)
    assert [event.reason for event in closed] == [f"TLS message of more than {private.MAX_HANDSHAKE} bytes"]
    assert most <= private.MAX_HANDSHAKE + 1500
