# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof, at start-up, that the private names of aioquic mean what this program thinks (see mpquic.quic.private)."""

from __future__ import annotations

import datetime as dt
import ssl
from collections import deque
from typing import TYPE_CHECKING

import aioquic
from aioquic.quic.events import DatagramFrameReceived, StreamDataReceived
from aioquic.quic.recovery import QuicPacketPacer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from mpquic.quic import private
from mpquic.quic import seal as sealing
from mpquic.quic.congestion import TunnelControl
from mpquic.quic.endpoint import ALPN, MAX_CONTROL_DATA, MAX_DATAGRAM_FRAME, _configuration
from mpquic.quic.keyphase import KeyPhases
from mpquic.quic.link import QUIC_OVERHEAD
from mpquic.quic.opening import Opener
from mpquic.quic.recovery import TunnelRecovery
from mpquic.quic.tunnel import TunnelConnection
from mpquic.quic.window import ReceiveWindow

if TYPE_CHECKING:
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.connection import QuicConnection

    from mpquic.core.types import Address
    from mpquic.quic.private import ReceiveKeys

    #: What an end shows: a certificate and a key, which need not belong together.
    _Shown = tuple[x509.Certificate, Ed25519PrivateKey]

_VERSION = "1.7.2"
_CLIENT = ("192.0.2.1", 1)
_SERVER = ("192.0.2.2", 2)
_MTU = 1300
_BURST = 40
#: aioquic would raise a limit of which more than half is used.
_OVER_HALF = MAX_CONTROL_DATA // 2 + 1

# ruff: noqa: SLF001 - this proves what private names mean


class SelfTestError(Exception):
    """A name of aioquic does not mean what it meant in the version this program was written for."""


def run() -> None:
    """Run every check on connections in memory (about 60 ms). Raises SelfTestError naming what failed."""
    if aioquic.__version__ != _VERSION:
        raise SelfTestError(f"aioquic {aioquic.__version__} is installed, this program needs {_VERSION}")
    try:
        failed = [name for name, passed in _checks() if not passed]
    except Exception as error:
        raise SelfTestError(f"aioquic {_VERSION} is not as expected: {type(error).__name__}: {error}") from error
    if failed:
        raise SelfTestError(f"aioquic {_VERSION} is not as expected: {', '.join(failed)}")


def _checks() -> list[tuple[str, bool]]:
    key, certificate = _self_signed()
    client, server = _handshake((certificate, key))
    results = [
        ("handshake", server is not None and _completed(client)),
        ("tls._peer_certificate", private.peer_certificate(client) == certificate),
        ("_remote_max_datagram_frame_size", private.peer_datagram_frame_limit(client) == MAX_DATAGRAM_FRAME),
        ("_loss._cc", isinstance(private.congestion_control(client), TunnelControl)),
        ("_loss._pacer", isinstance(client._loss._pacer, QuicPacketPacer)),
        ("_datagrams_pending", isinstance(client._datagrams_pending, deque)),
    ]
    if server is not None:
        results += _fast_checks(client, server)
    private.disable_pacer(client)
    largest = bytes(client.configuration.max_datagram_size - QUIC_OVERHEAD)
    for _packet in range(_BURST):
        client.send_datagram_frame(largest)
    sent = client.datagrams_to_send(1.0)
    results.append(("pacer", len(sent) >= _BURST and not client._datagrams_pending))
    client.send_datagram_frame(largest + b"x")
    results.append(("oversize", not client.datagrams_to_send(1.0) and private.take_back_datagrams(client) == 1))
    results.append(("_close_event", private.close_event(client) is None))
    if server is not None:
        server.close(reason_phrase="test")
        results.append(("_close_pending", private.close_is_ours(server)))
        for data, _address in server.datagrams_to_send(1.0):
            client.receive_datagram(data, _SERVER, 1.0)
    closing = private.close_event(client)
    results.append(("_close_event of peer", closing is not None and closing.reason_phrase == "test"))
    impostor, _server = _handshake((certificate, Ed25519PrivateKey.generate()))
    results.append(("CertificateVerify without a CA", not _completed(impostor) and private.proof_is_awaited(impostor)))
    return results + _mutual_checks()


def _mutual_checks() -> list[tuple[str, bool]]:
    """Let a server learn who its client is; see that there is one stream, and that its limits never grow."""
    theirs, ours = (_self_signed()[::-1] for _end in range(2))
    client, server = _handshake(theirs, ours)
    _client, anonymous_server = _handshake(theirs)
    _client, impostor_server = _handshake(theirs, (ours[0], theirs[1]))
    if server is None or anonymous_server is None or impostor_server is None:
        return [("handshake of both", False)]
    path = server._network_paths[0]
    results = [
        ("tls._request_client_certificate", _completed(server) and private.peer_certificate(server) == ours[0]),
        ("tls._peer_certificate_chain", private.peer_chain(server) == []),
        ("an empty certificate", _completed(anonymous_server) and private.peer_certificate(anonymous_server) is None),
        (
            "CertificateVerify of a client",
            not _completed(impostor_server)
            and private.proof_is_awaited(impostor_server)
            and private.peer_certificate(impostor_server) == ours[0],
        ),
        ("tls._receive_buffer", server.tls._receive_buffer == b""),
        ("MAX_PENDING_CRYPTO", "MAX_PENDING_CRYPTO" in TunnelConnection._handle_crypto_frame.__code__.co_names),
        ("_receive_retry_packet", "_receive_retry_packet" in TunnelConnection.receive_datagram.__code__.co_names),
        ("_network_paths of a server", path.bytes_received > _MTU and path.bytes_sent > _MTU),
        ("_local_max_streams_bidi", (client._remote_max_streams_bidi, server._remote_max_streams_bidi) == (1, 0)),
        ("_local_max_streams_uni", (client._remote_max_streams_uni, server._remote_max_streams_uni) == (0, 0)),
    ]
    private.disable_pacer(client)
    client.send_stream_data(0, bytes(_OVER_HALF))
    _exchange(client, server, range(10, 14))
    received = 0
    while (event := server.next_event()) is not None:
        received += len(event.data) if isinstance(event, StreamDataReceived) else 0
    granted = client._remote_max_data == client._streams[0].max_stream_data_remote == MAX_CONTROL_DATA
    results.append(("_write_stream_limits, _write_connection_limits", granted and received == _OVER_HALF))
    return results


def _fast_checks(client: QuicConnection, server: QuicConnection) -> list[tuple[str, bool]]:
    """Seal for aioquic and open what aioquic sent, across a key update; the names are those of the step that fails."""
    recovery, server_recovery = client._loss, server._loss
    if not isinstance(recovery, TunnelRecovery) or not isinstance(server_recovery, TunnelRecovery):
        return [("_loss", False)]
    for end, ack in ((client, 0.001), (server, 0.005)):
        private.set_ack_delay(end, ack)
        private.disable_pacer(end)
    payload = bytes(range(256))
    first = private.next_packet_number(client)
    sealed = sealing.seal(sealing.plaintexts([payload] * 2, _MTU), private.send_state(client))
    private.note_sealed(client, recovery, list(map(len, sealed)), 1.0)
    for data in sealed:
        server.receive_datagram(data, _CLIENT, 1.0)
    results = [
        ("_cryptos.send, _peer_cid, hp._encryptor", _payloads(server) == [payload] * 2),
        ("_packet_number", private.next_packet_number(client) == first + len(sealed)),
        ("_spaces.ack_at", not private.ack_is_due(server, 1.0) and private.ack_is_due(server, 1.0051)),
        ("_state", private.may_seal(client) and private.may_open(client)),
        ("_network_paths", private.active_address(client) == _SERVER),
    ]
    window = ReceiveWindow()
    results.append(("_spaces.received_packets", private.use_window(client, window)))
    phases = KeyPhases(client, 1.0)
    got: list[bytes] = []
    general: list[bytes] = []

    def slow(data: bytes, address: Address, now: float, keys: ReceiveKeys | None, payloads: list[bytes]) -> None:
        general.append(data)
        if keys is None:
            client.receive_datagram(data, address, now)
        else:
            private.receive_with(client, keys, data, address, now)
        payloads += _payloads(client)

    opener = Opener(client, phases, window, slow)
    for data, _address in server.datagrams_to_send(1.006):
        client.receive_datagram(data, _SERVER, 1.006)
    idle_before = client._close_at or 0.0
    server.send_datagram_frame(payload)
    server.send_datagram_frame(payload)
    opener.open([(data, len(data), _SERVER) for data, _address in server.datagrams_to_send(1.01)], 1.01, got)
    results += [
        ("_cryptos.recv", got == [payload] * 2),
        ("_host_cids", not general),
        ("_spaces.sent_packets", not recovery.ledger and private.packet_space(client).ack_eliciting_in_flight == 0),
        ("_close_at", (client._close_at or 0.0) > idle_before),
        ("_spin_bit", client._spin_highest_pn == private.packet_space(client).largest_received_packet),
        ("_ack_eliciting_sent_since_receipt", client._ack_eliciting_sent_since_receipt is False),
        ("probe_timeout", 0.0 < private.probe_timeout(client) < 1.0),
    ]
    server.send_datagram_frame(payload)
    late = server.datagrams_to_send(1.01)
    server.request_key_update()
    server.send_datagram_frame(payload)
    for data, _address in server.datagrams_to_send(1.01) + late:
        opener.open([(data, len(data), _SERVER)], 1.01, got)
    results.append(("key phase", got == [payload] * 4 and phases.updates == 1 and phases.changing))
    size = private.datagram_size(client)
    private.set_datagram_size(client, size + 1)
    results.append(("_max_datagram_size", private.datagram_size(client) == size + 1))
    private.set_datagram_size(client, size)
    return results


def _payloads(connection: QuicConnection) -> list[bytes]:
    found = []
    while (event := connection.next_event()) is not None:
        if isinstance(event, DatagramFrameReceived):
            found.append(event.data)
    return found


def _self_signed() -> tuple[Ed25519PrivateKey, x509.Certificate]:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mpquic-server")])
    start = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + dt.timedelta(days=36500))
    return key, builder.sign(key, None)


def _handshake(
    server_shows: _Shown, client_shows: _Shown | None = None
) -> tuple[QuicConnection, QuicConnection | None]:
    ours: QuicConfiguration = _configuration(_MTU, "tunnel", ALPN, is_client=True)
    ours.verify_mode = ssl.CERT_NONE
    theirs = _configuration(_MTU, "tunnel", ALPN, is_client=False)
    theirs.certificate, theirs.private_key = server_shows
    if client_shows is not None:
        ours.certificate, ours.private_key = client_shows
    client = TunnelConnection(ours)
    _observe(client)
    client.connect(_SERVER, now=0.0)
    first = client.datagrams_to_send(0.01)
    if not first:
        return client, None
    server = TunnelConnection(theirs, client.original_destination_connection_id)
    _observe(server)
    for data, _address in first:
        server.receive_datagram(data, _CLIENT, 0.01)
    _exchange(client, server, range(1, 5))
    return client, server


def _exchange(client: QuicConnection, server: QuicConnection, hundredths: range) -> None:
    for step in hundredths:
        now = step / 100
        for data, _address in client.datagrams_to_send(now):
            server.receive_datagram(data, _CLIENT, now)
        for data, _address in server.datagrams_to_send(now):
            client.receive_datagram(data, _SERVER, now)


def _observe(connection: QuicConnection) -> None:
    control = private.congestion_control(connection)
    if isinstance(control, TunnelControl):
        private.install_recovery(connection, control.clock)


def _completed(connection: QuicConnection) -> bool:
    names = []
    while (event := connection.next_event()) is not None:
        names.append(type(event).__name__)
    return "HandshakeCompleted" in names
