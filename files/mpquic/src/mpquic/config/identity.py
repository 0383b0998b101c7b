# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of key and certificate files. Nothing of a key ever gets into a message."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


def check_pair(cert_file: Path, key_file: Path) -> Iterator[str]:
    """Yield what is wrong with a certificate and its key: unreadable, exposed, not PEM, or not belonging together."""
    certificate, fault = _load_certificate(cert_file)
    if fault:
        yield f"tls_cert_file: found {cert_file}: {fault}, expected a PEM certificate"
    public, fault = _load_key(key_file)
    if fault:
        yield f"tls_key_file: found {key_file}: {fault}, expected a PEM private key closed to others"
    if certificate is None or public is None:
        return
    if _spki(certificate.public_key()) != _spki(public):
        yield f"tls_key_file: found {key_file}, expected the key of the certificate {cert_file}"


def check_ca(ca_file: Path) -> Iterator[str]:
    """Yield what is wrong with a CA file."""
    _certificate, fault = _load_certificate(ca_file)
    if fault:
        yield f"tls_ca_file: found {ca_file}: {fault}, expected PEM CA certificates"


def _load_certificate(path: Path) -> tuple[x509.Certificate | None, str]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0], ""
    except OSError as error:
        return None, str(error.strerror)
    except ValueError:
        return None, "not a PEM certificate"


def _load_key(path: Path) -> tuple[PublicKeyTypes | None, str]:
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            return None, f"open to everyone (mode {stat.S_IMODE(mode):04o})"
        return load_pem_private_key(path.read_bytes(), password=None).public_key(), ""
    except OSError as error:
        return None, str(error.strerror)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None, "not an unencrypted PEM private key"


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
