# SPDX-License-Identifier: GPL-3.0-or-later
"""How connections of this program are made: transport parameters, TLS, verification of the server."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mpquic.core.wire import CID_LENGTH, OVERHEAD
from mpquic.quic import congestion, private
from mpquic.quic.link import QUIC_OVERHEAD, Link

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.x509 import Certificate

    from mpquic.core.types import Address

#: Our protocol's name in the TLS handshake (RFC 7301).
ALPN = "mpq/1"
#: Seconds without any packet after which a connection is gone; the client's keepalive is well below.
IDLE_TIMEOUT = 30.0
#: Largest DATAGRAM frame we take (bytes): whatever fits a UDP datagram.
MAX_DATAGRAM_FRAME = 65535
#: RFC 9000 section 14: every path carries UDP payloads of this size.
MIN_UDP_PAYLOAD = 1200
#: Flow control for streams (bytes): there is no stream yet, and one control stream at most.
MAX_STREAM_DATA = 65536


@dataclass(frozen=True, slots=True)
class Identity:
    """Files with this end's certificate and private key."""

    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class Trust:
    """How a client recognises its server: by pins of its public key, or by a CA and a name; both if both are given."""

    pins: tuple[str, ...] = ()
    ca_file: Path | None = None
    server_name: str | None = None


def spki_pin(certificate: Certificate) -> str:
    """Return ``sha256:<hex>`` of the certificate's SubjectPublicKeyInfo (as in RFC 7469 section 2.4, in hex)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(spki).hexdigest()}"


def udp_payload_size(tun_mtu: int) -> int:
    """Return the UDP payload that carries an inner packet of ``tun_mtu`` bytes."""
    return max(MIN_UDP_PAYLOAD, tun_mtu + OVERHEAD + QUIC_OVERHEAD)


class ClientEndpoint:
    """Makes connections to a server that ``trust`` recognises."""

    def __init__(self, *, trust: Trust, identity: Identity | None, tun_mtu: int, algorithm: str = "tunnel") -> None:
        """Read the files. Raises ValueError when ``trust`` recognises nobody: there is no insecure mode."""
        if not trust.pins and trust.ca_file is None:
            raise ValueError("neither a pin nor a CA to recognise the server by")
        self._configuration = _configuration(tun_mtu, algorithm, is_client=True)
        self._pins = frozenset(trust.pins)
        if trust.ca_file is not None:
            self._configuration.verify_mode = ssl.CERT_REQUIRED
            self._configuration.cadata = trust.ca_file.read_bytes()
            self._configuration.server_name = trust.server_name
        else:
            # The pin is checked by Link when the handshake completes. aioquic verifies the signature of
            # CertificateVerify in either mode, which the self-test proves. Dates do not matter to a pinned key.
            self._configuration.verify_mode = ssl.CERT_NONE
        if identity is not None:
            self._configuration.load_cert_chain(identity.cert_file, identity.key_file)

    def connect(self, remote: Address, now: float) -> Link:
        """Start a handshake with ``remote``."""
        connection = QuicConnection(configuration=self._configuration)
        link = Link(connection, self._verdict)
        connection.connect(remote, now=now)
        return link

    def _verdict(self, connection: QuicConnection) -> str | None:
        certificate = private.peer_certificate(connection)
        if certificate is None:
            return "server sent no certificate"
        if not self._pins:
            return None
        pin = spki_pin(certificate)
        return None if pin in self._pins else f"server key {pin} is not the pinned one"


class ServerEndpoint:
    """Makes connections out of Initials of clients."""

    def __init__(self, *, identity: Identity, tun_mtu: int, algorithm: str = "tunnel") -> None:
        """Read the files."""
        self._configuration = _configuration(tun_mtu, algorithm, is_client=False)
        self._configuration.load_cert_chain(identity.cert_file, identity.key_file)

    def accept(self, destination_cid: bytes, now: float) -> Link:
        """Return the server's side of a connection whose first Initial went to ``destination_cid``."""
        del now
        connection = QuicConnection(
            configuration=self._configuration, original_destination_connection_id=destination_cid
        )
        return Link(connection, lambda _: None)


def _configuration(tun_mtu: int, algorithm: str, *, is_client: bool) -> QuicConfiguration:
    congestion.register()
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        cipher_suites=[CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256],
        congestion_control_algorithm=congestion.registered_name(algorithm),
        connection_id_length=CID_LENGTH,
        idle_timeout=IDLE_TIMEOUT,
        is_client=is_client,
        max_data=MAX_STREAM_DATA,
        max_datagram_frame_size=MAX_DATAGRAM_FRAME,
        max_datagram_size=udp_payload_size(tun_mtu),
        max_stream_data=MAX_STREAM_DATA,
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
