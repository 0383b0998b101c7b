# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, certificates and CAs of the ends in a test, and handshakes between them without a network."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from mpquic.core import wire
from mpquic.core.connection import Closed, Established
from mpquic.quic import ClientEndpoint, Identity, ServerEndpoint, Trust, spki_pin
from simulation import SERVER, arrivals

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
    from mpquic.core.connection import Event
    from mpquic.core.connection import Identity as PeerIdentity
    from mpquic.core.types import Address
    from mpquic.quic.link import Link

CLIENT: Address = ("198.51.100.1", 50000)
SERVER_NAME = "mpquic-server"
LONG_AGO, ALWAYS = dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(2999, 1, 1, tzinfo=dt.UTC)
_SERIAL = itertools.count(1)


def new_key(kind: str = "ed25519") -> CertificateIssuerPrivateKeyTypes:
    """Return a key: ``ed25519``, ``p256``, ``p384``, ``p521`` or ``rsa``."""
    if kind == "ed25519":
        return Ed25519PrivateKey.generate()
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    curves: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


@dataclass
class Party:
    """A certificate, its key, and what was sent along with it."""

    key: CertificateIssuerPrivateKeyTypes
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pin(self) -> str:
        return spki_pin(self.certificate)

    def files(self, folder: Path) -> Identity:
        """Write what an endpoint reads."""
        number = next(_SERIAL)
        files = Identity(folder / f"{number}.crt", folder / f"{number}.key")
        files.cert_file.write_bytes(
            b"".join(item.public_bytes(Encoding.PEM) for item in (self.certificate, *self.chain))
        )
        files.key_file.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files

    def file(self, folder: Path) -> Path:
        """Write the certificate alone, as a CA file."""
        return self.files(folder).cert_file


def certified(
    *names: str,
    by: Party | None = None,
    kind: str = "ed25519",
    begin: dt.datetime = LONG_AGO,
    end: dt.datetime = ALWAYS,
    ca: bool = False,
    uses: tuple[x509.ObjectIdentifier, ...] = (),
    chain: tuple[x509.Certificate, ...] = (),
) -> Party:
    """Return somebody whose certificate has these DNS names, signed by itself or by another."""
    key = new_key(kind)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"subject {next(_SERIAL)}")])
    builder = x509.CertificateBuilder(
        by.certificate.subject if by is not None else subject, subject, key.public_key(), next(_SERIAL), begin, end
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    signer = by.key if by is not None else key
    digest = None if isinstance(signer, Ed25519PrivateKey) else hashes.SHA256()
    return Party(key, builder.sign(signer, digest), chain)


@dataclass
class Met:
    """Two ends after a handshake, and what each was told."""

    client: Link
    server: Link
    events: dict[str, list[Event]] = field(default_factory=lambda: {"client": [], "server": []})

    def established(self, who: str) -> PeerIdentity | None:
        """Return who the peer of ``who`` proved to be."""
        found = [event.identity for event in self.events[who] if isinstance(event, Established)]
        assert len(found) <= 1
        return found[0] if found else None

    def closed(self, who: str) -> Closed | None:
        """Return why the connection of ``who`` is over."""
        found = [event for event in self.events[who] if isinstance(event, Closed)]
        assert len(found) <= 1
        return found[0] if found else None


def meet(client_endpoint: ClientEndpoint, server_endpoint: ServerEndpoint, *, rounds: int = 10) -> Met:
    """Let a client call a server and wait for what becomes of it."""
    now = 100.0
    client = client_endpoint.connect(SERVER, now)
    flight = [data for data, _to in client.seal([], now)[0]]
    header = wire.long_header(flight[0])
    assert header is not None
    met = Met(client, server_endpoint.accept(header.destination, now))
    for _ in range(rounds):
        now += 0.01
        met.server.open(arrivals(CLIENT, *flight), now)
        back = [data for data, _to in met.server.seal([], now)[0]]
        client.open(arrivals(SERVER, *back), now)
        for who, link in (("client", client), ("server", met.server)):
            link.fire(now)
            met.events[who] += link.events()
        flight = [data for data, _to in client.seal([], now)[0]]
    return met


def ends(
    folder: Path,
    server: Party,
    client: Party | None,
    *,
    trust: Trust | None = None,
    ca: Party | None = None,
    mtu: int = 1300,
    algorithm: str = "tunnel",
) -> tuple[ClientEndpoint, ServerEndpoint]:
    """Return endpoints that show these parties; the client trusts the server's key unless told otherwise."""
    trust = trust or Trust(pins=(server.pin,))
    identity = client.files(folder) if client is not None else None
    ca_file = ca.file(folder) if ca is not None else None
    return (
        ClientEndpoint(trust=trust, identity=identity, tun_mtu=mtu, algorithm=algorithm),
        ServerEndpoint(identity=server.files(folder), tun_mtu=mtu, algorithm=algorithm, ca_file=ca_file),
    )


def steal(endpoint: ClientEndpoint | ServerEndpoint, party: Party) -> None:
    """Show somebody else's certificate, without having the key."""
    endpoint._configuration.certificate = party.certificate
    endpoint._configuration.certificate_chain = list(party.chain)
