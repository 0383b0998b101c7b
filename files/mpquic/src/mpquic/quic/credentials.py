# SPDX-License-Identifier: GPL-3.0-or-later
"""What an end has to show, and how it recognises others: files become keys and certificates, or a clear error."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

if TYPE_CHECKING:
    from pathlib import Path

    from aioquic.quic.configuration import QuicConfiguration
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class Identity:
    """Files with this end's certificate (PEM, a chain may follow it) and private key (PEM, not encrypted)."""

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
    return f"sha256:{hashlib.sha256(_spki(certificate.public_key())).hexdigest()}"


def read_certificates(path: Path) -> list[Certificate]:
    """Return the certificates of a PEM file. Raises OSError, or ValueError naming the file."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError:
        raise ValueError(f"{path}: expected PEM certificates") from None


def show(configuration: QuicConfiguration, identity: Identity) -> None:
    """Let connections of ``configuration`` show this identity. Raises OSError, or ValueError naming the file."""
    chain = read_certificates(identity.cert_file)
    key = _read_key(identity.key_file)
    if _spki(chain[0].public_key()) != _spki(key.public_key()):
        raise ValueError(f"{identity.key_file}: not the key of the certificate in {identity.cert_file}")
    configuration.certificate, configuration.certificate_chain = chain[0], chain[1:]
    configuration.private_key = key


def _read_key(path: Path) -> PrivateKeyTypes:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{path}: expected a PEM private key without a passphrase") from None
    known = isinstance(key, Ed25519PrivateKey | RSAPrivateKey) or (
        isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1 | SECP384R1)
    )
    if not known:
        # aioquic would send an empty certificate instead, without a word.
        raise ValueError(f"{path}: expected an Ed25519, ECDSA P-256, ECDSA P-384 or RSA key")
    return key


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
