# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, certificates and signing requests as data: how they are made, read and judged."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from mpquic.host.errors import HostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

SERVER_NAME = "mpquic-server"
"""The name a client expects by default (``tls_server_name``)."""

# A host without a battery clock may boot in the past.
# Peers pin the key, so the certificate's dates protect nothing; an expiry at sea would only cut the tunnels.
_BEGIN = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_END = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
# RFC 5280 appendix A.1, ub-common-name.
_MAX_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class Request:
    """A certificate signing request (RFC 2986) in PEM, the names it asks for, and the fingerprint of its key."""

    pem: str
    names: tuple[str, ...]
    fingerprint: str


def fingerprint(key: CertificatePublicKeyTypes) -> str:
    """Return ``sha256:`` and the hex SHA-256 of a key's SubjectPublicKeyInfo (RFC 5280 section 4.1)."""
    return "sha256:" + hashlib.sha256(spki(key)).hexdigest()


def spki(key: CertificatePublicKeyTypes) -> bytes:
    """Return the SubjectPublicKeyInfo of a key in DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def read_key(path: Path, remedy: str) -> Ed25519PrivateKey | None:
    """Return the key in a file, None if there is no file.

    Raises HostError, which ends with ``remedy``, when the file cannot be read or holds something else.
    """
    pem = _read(path)
    if pem is None:
        return None
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise HostError(f"{path}: not an unencrypted PEM private key; {remedy}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise HostError(f"{path}: expected an Ed25519 key; {remedy}")
    return key


def read_chain(path: Path, remedy: str) -> list[x509.Certificate]:
    """Return the certificates in a file, the host's own first, none if there is no file. Raises HostError."""
    pem = _read(path)
    if pem is None:
        return []
    try:
        chain = x509.load_pem_x509_certificates(pem)
        fingerprint(chain[0].public_key())
    except (ValueError, UnsupportedAlgorithm):
        raise HostError(f"{path}: not a PEM certificate; {remedy}") from None
    return chain


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error


def key_pem(key: Ed25519PrivateKey) -> bytes:
    """Return a key as its file holds it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def chain_pem(chain: Iterable[x509.Certificate]) -> bytes:
    """Return certificates as their file holds them."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)


def self_signed(key: Ed25519PrivateKey) -> list[x509.Certificate]:
    """Make a certificate for peers that know the key by its fingerprint."""
    host = socket.gethostname() or SERVER_NAME
    name = _subject(host)
    return [
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.SubjectAlternativeName(_general([SERVER_NAME, host])), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, None)
    ]


def signing_request(key: Ed25519PrivateKey, wanted: Sequence[str]) -> Request:
    """Ask a CA for a certificate with the names ``wanted``, without any for the host's own name.

    Raises UsageError when one is neither a DNS name nor an IP address.
    """
    chosen = list(dict.fromkeys(wanted or [socket.gethostname()]))
    for name in chosen:
        if _ip(name) is None and (len(name) > 253 or not all(map(_LABEL.fullmatch, name.split(".")))):
            raise UsageError(f"--name {name!r}: expected a DNS name or an IP address")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_subject(chosen[0]))
        .add_extension(x509.SubjectAlternativeName(_general(chosen)), critical=False)
        .sign(key, None)
    )
    pem = request.public_bytes(Encoding.PEM).decode("ascii")
    return Request(pem, tuple(chosen), fingerprint(key.public_key()))


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names and IP addresses of a certificate's subjectAltName."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return ()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def of_ca(chain: Sequence[x509.Certificate]) -> bool:
    """Tell whether a CA signed the first certificate of a chain."""
    return bool(chain) and chain[0].issuer != chain[0].subject


def expired(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate's time is over by this host's clock."""
    return certificate.not_valid_after_utc <= dt.datetime.now(dt.UTC)


def expires(certificate: x509.Certificate) -> str:
    """Return when a certificate's time is over, such as ``2027-01-31T12:00:00Z``."""
    return certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_MAX_COMMON_NAME])])


def _general(texts: Iterable[str]) -> list[x509.GeneralName]:
    addresses = ((text, _ip(text)) for text in dict.fromkeys(texts))
    return [x509.DNSName(text) if address is None else x509.IPAddress(address) for text, address in addresses]


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
