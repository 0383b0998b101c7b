# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof, at start-up, that the private names of aioquic mean what this program thinks (see mpquic.quic.private)."""

from __future__ import annotations

import datetime as dt
import ssl
from collections import deque
from typing import TYPE_CHECKING

import aioquic
from aioquic.quic.connection import QuicConnection
from aioquic.quic.recovery import QuicPacketPacer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from mpquic.quic import private
from mpquic.quic.congestion import TunnelControl
from mpquic.quic.endpoint import MAX_DATAGRAM_FRAME, _configuration
from mpquic.quic.link import QUIC_OVERHEAD

if TYPE_CHECKING:
    from aioquic.quic.configuration import QuicConfiguration

_VERSION = "1.7.2"
_CLIENT = ("192.0.2.1", 1)
_SERVER = ("192.0.2.2", 2)
_MTU = 1300
_BURST = 40

# ruff: noqa: SLF001 - this proves what private names mean


class SelfTestError(Exception):
    """A name of aioquic does not mean what it meant in the version this program was written for."""


def run() -> None:
    """Run every check on connections in memory (about 30 ms). Raises SelfTestError naming what failed."""
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
    client, server = _handshake(certificate, key)
    results = [
        ("handshake", server is not None and _completed(client)),
        ("tls._peer_certificate", private.peer_certificate(client) == certificate),
        ("_remote_max_datagram_frame_size", private.peer_datagram_frame_limit(client) == MAX_DATAGRAM_FRAME),
        ("_loss._cc", isinstance(private.congestion_control(client), TunnelControl)),
        ("_loss._pacer", isinstance(client._loss._pacer, QuicPacketPacer)),
        ("_datagrams_pending", isinstance(client._datagrams_pending, deque)),
    ]
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
    impostor, _server = _handshake(certificate, Ed25519PrivateKey.generate())
    results.append(("CertificateVerify without a CA", not _completed(impostor)))
    return results


def _self_signed() -> tuple[Ed25519PrivateKey, x509.Certificate]:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mpquic-server")])
    start = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + dt.timedelta(days=36500))
    return key, builder.sign(key, None)


def _handshake(certificate: x509.Certificate, key: Ed25519PrivateKey) -> tuple[QuicConnection, QuicConnection | None]:
    ours: QuicConfiguration = _configuration(_MTU, "tunnel", is_client=True)
    ours.verify_mode = ssl.CERT_NONE
    theirs = _configuration(_MTU, "tunnel", is_client=False)
    theirs.certificate, theirs.private_key = certificate, key
    client = QuicConnection(configuration=ours)
    client.connect(_SERVER, now=0.0)
    server: QuicConnection | None = None
    for step in range(1, 5):
        now = step / 100
        for data, _address in client.datagrams_to_send(now):
            if server is None:
                odcid = client.original_destination_connection_id
                server = QuicConnection(configuration=theirs, original_destination_connection_id=odcid)
            server.receive_datagram(data, _CLIENT, now)
        if server is not None:
            for data, _address in server.datagrams_to_send(now):
                client.receive_datagram(data, _SERVER, now)
    return client, server


def _completed(connection: QuicConnection) -> bool:
    names = []
    while (event := connection.next_event()) is not None:
        names.append(type(event).__name__)
    return "HandshakeCompleted" in names
