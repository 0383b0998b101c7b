# SPDX-License-Identifier: GPL-3.0-or-later
"""How connections of this program are made: transport parameters, TLS, and who the peer turns out to be."""

from __future__ import annotations

import secrets
import ssl
from typing import TYPE_CHECKING

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion, encode_quic_retry, encode_quic_version_negotiation
from aioquic.tls import CipherSuite

from mpquic.core.connection import Identity as PeerIdentity
from mpquic.core.connection import Retried
from mpquic.core.wire import CID_LENGTH, OVERHEAD
from mpquic.quic import authority, congestion, credentials, private, retry
from mpquic.quic.authority import Authority
from mpquic.quic.link import QUIC_OVERHEAD, Link
from mpquic.quic.protection import PURE
from mpquic.quic.tunnel import TunnelConnection

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.x509 import ObjectIdentifier

    from mpquic.core.connection import Connection
    from mpquic.core.types import Address
    from mpquic.core.wire import LongHeader
    from mpquic.quic.credentials import Identity, Trust
    from mpquic.quic.protection import Protection

#: Our protocol's name in the TLS handshake (RFC 7301), and that of the Go implementation.
ALPN = "mpq/1"
LEGACY_ALPN = "mpquic-ip"
#: Seconds without any packet after which a connection is gone; the client's keepalive is well below.
IDLE_TIMEOUT = 30.0
#: Largest DATAGRAM frame we take (bytes): whatever fits a UDP datagram.
MAX_DATAGRAM_FRAME = 65535
#: RFC 9000 section 14: every path carries UDP payloads of this size.
MIN_UDP_PAYLOAD = 1200
#: Bytes that a peer may send on the control stream, in the life of a connection.
MAX_CONTROL_DATA = 65536


def udp_payload_size(tun_mtu: int) -> int:
    """Return the UDP payload that carries an inner packet of ``tun_mtu`` bytes."""
    return max(MIN_UDP_PAYLOAD, tun_mtu + OVERHEAD + QUIC_OVERHEAD)


class ClientEndpoint:
    """Makes connections to a server that ``trust`` recognises."""

    def __init__(  # noqa: PLR0913 - what there is to say about an endpoint
        self,
        *,
        trust: Trust,
        identity: Identity | None,
        tun_mtu: int,
        algorithm: str = "tunnel",
        legacy: bool = False,
        protection: Protection | None = None,
    ) -> None:
        """Read the files. Raises OSError or ValueError, also when ``trust`` recognises nobody: no mode is insecure.

        Without an ``identity`` the client shows no certificate. ``legacy`` speaks the Go implementation's protocol.
        Pure Python seals and opens unless ``protection`` does.
        """
        if not trust.pins and trust.ca_file is None:
            raise ValueError("neither a pin nor a CA to recognise the server by")
        if trust.ca_file is not None and not trust.server_name:
            raise ValueError("a CA to recognise the server by, but no name of the server")
        self._protection = protection or PURE
        self._pins = frozenset(trust.pins)
        self._authority = Authority(trust.ca_file) if trust.ca_file is not None else None
        self._name = trust.server_name
        self._configuration = _configuration(tun_mtu, algorithm, LEGACY_ALPN if legacy else ALPN, is_client=True)
        # Who the server is, is judged when the handshake is complete, in words that help. aioquic verifies the
        # signature of CertificateVerify in either mode, which the self-test proves.
        self._configuration.verify_mode = ssl.CERT_NONE
        if self._authority is not None:
            # Sent along for servers of several names.
            self._configuration.server_name = trust.server_name
        if identity is not None:
            credentials.show(self._configuration, identity)

    def connect(self, remote: Address, now: float) -> Link:
        """Start a handshake with ``remote``."""
        connection = TunnelConnection(self._configuration)
        link = Link(connection, self._recognise, self._protection)
        connection.connect(remote, now=now)
        return link

    def _recognise(self, connection: TunnelConnection) -> PeerIdentity | str:
        peer = _identify(connection, self._authority, authority.SERVER, self._name)
        if peer.pin is None:
            return "server sent no certificate"
        if peer.fault:
            return f"server {peer.fault}"
        if self._pins and peer.pin not in self._pins:
            return f"server key {peer.pin} is not the pinned one"
        return peer


class ServerEndpoint:
    """Makes connections out of Initials of clients (mpquic.core.connection.Listener)."""

    def __init__(  # noqa: PLR0913 - what there is to say about an endpoint
        self,
        *,
        identity: Identity,
        tun_mtu: int,
        algorithm: str = "tunnel",
        ca_file: Path | None = None,
        legacy: bool = False,
        protection: Protection | None = None,
    ) -> None:
        """Read the files. Raises OSError or ValueError.

        With ``ca_file``, connections tell the names that this CA vouches for. ``legacy`` takes clients of the Go
        implementation as well, which have no certificate. Who is welcome is not decided here. Pure Python seals and
        opens unless ``protection`` does.
        """
        self._protection = protection or PURE
        self._authority = Authority(ca_file) if ca_file is not None else None
        protocols = (ALPN, LEGACY_ALPN) if legacy else (ALPN,)
        self._configuration = _configuration(tun_mtu, algorithm, *protocols, is_client=False)
        credentials.show(self._configuration, identity)

    def accept(self, destination: bytes, now: float, retried: Retried | None = None) -> Link:
        """Return the server's side of a connection whose Initial goes to the connection id ``destination``."""
        del now
        connection = TunnelConnection(self._configuration, destination, retried)
        return Link(connection, self._recognise, self._protection)

    @property
    def anchors(self) -> bytes:
        """The CA's certificates, empty without a CA."""
        return self._authority.pem if self._authority is not None else b""

    def identify(self, connection: Connection) -> PeerIdentity:
        """Return who the peer of an established connection is to this endpoint."""
        assert isinstance(connection, Link)
        return connection.identify(self._recognise)

    def _recognise(self, connection: TunnelConnection) -> PeerIdentity:
        return _identify(connection, self._authority, authority.CLIENT)

    def retry(self, header: LongHeader, address: Address, now: float) -> bytes:
        """Return a Retry packet, which asks the sender of an Initial to prove its address (RFC 9000 section 8.1.2)."""
        source = secrets.token_bytes(CID_LENGTH)
        return encode_quic_retry(
            version=header.version,
            source_cid=source,
            destination_cid=header.source,
            original_destination_cid=header.destination,
            retry_token=retry.TOKENS.issue(header.destination, source, address, now),
        )

    def redeem(self, header: LongHeader, address: Address, now: float) -> Retried | None:
        """Return what the token of an Initial proves, None when it proves nothing about this address and moment."""
        original = retry.TOKENS.redeem(header.token, header.destination, address, now)
        return Retried(original, header.destination) if original is not None else None

    def versions(self, header: LongHeader) -> bytes:
        """Return a Version Negotiation packet (RFC 9000 section 17.2.1)."""
        return encode_quic_version_negotiation(
            source_cid=header.destination,
            destination_cid=header.source,
            supported_versions=[QuicProtocolVersion.VERSION_1],
        )


def _identify(
    connection: TunnelConnection, trusted: Authority | None, use: ObjectIdentifier, name: str | None = None
) -> PeerIdentity:
    """Return who the peer proved to be, now that the handshake is complete."""
    protocol = connection.tls.alpn_negotiated or ""
    certificate = private.peer_certificate(connection)
    if certificate is None:
        return PeerIdentity(protocol)
    pin = credentials.spki_pin(certificate)
    if trusted is None:
        return PeerIdentity(protocol, pin)
    return PeerIdentity(protocol, pin, *trusted.vouch(certificate, private.peer_chain(connection), use, name))


def _configuration(tun_mtu: int, algorithm: str, *protocols: str, is_client: bool) -> QuicConfiguration:
    congestion.register()
    return QuicConfiguration(
        alpn_protocols=list(protocols),
        cipher_suites=[CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256],
        congestion_control_algorithm=congestion.registered_name(algorithm),
        connection_id_length=CID_LENGTH,
        idle_timeout=IDLE_TIMEOUT,
        is_client=is_client,
        max_data=MAX_CONTROL_DATA,
        max_datagram_frame_size=MAX_DATAGRAM_FRAME,
        max_datagram_size=udp_payload_size(tun_mtu),
        max_stream_data=MAX_CONTROL_DATA,
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
