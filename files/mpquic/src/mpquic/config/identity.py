# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of key and certificate files. Nothing of a key ever gets into a message."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

#: A bundle of all public CAs has a quarter of this (bytes).
_MAX_PEM_SIZE = 1024 * 1024


def check_pair(cert_file: Path, key_file: Path) -> Iterator[str]:
    """Yield what is wrong with a certificate and its key: unreadable, exposed, not PEM, or not belonging together."""
    certified, fault = _public_key(cert_file, _of_certificate)
    if fault:
        yield f"tls_cert_file: found {cert_file}: {fault}, expected a PEM certificate"
    public, fault = _public_key(key_file, _of_key, secret=True)
    if fault:
        yield f"tls_key_file: found {key_file}: {fault}, expected a PEM private key that only its owner can read (0600)"
    if certified is not None and public is not None and certified != public:
        yield f"tls_key_file: found {key_file}, expected the key of the certificate {cert_file}"


def check_ca(ca_file: Path) -> Iterator[str]:
    """Yield what is wrong with a CA file."""
    _key, fault = _public_key(ca_file, _of_certificate)
    if fault:
        yield f"tls_ca_file: found {ca_file}: {fault}, expected PEM CA certificates"


def _public_key(path: Path, read: Callable[[bytes], bytes], *, secret: bool = False) -> tuple[bytes | None, str]:
    """Return the public key in a file, or why there is none; a ``secret`` file must be closed to all but its owner."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                return None, "not a file"
            if secret and mode & (stat.S_IRWXG | stat.S_IRWXO):
                return None, f"open to group or others (mode {stat.S_IMODE(mode):04o})"
            return read(file.read(_MAX_PEM_SIZE)), ""
    except OSError as error:
        return None, str(error.strerror)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None, "not an unencrypted PEM private key" if secret else "not a PEM certificate"


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def _of_certificate(pem: bytes) -> bytes:
    return _spki(x509.load_pem_x509_certificates(pem)[0].public_key())


def _of_key(pem: bytes) -> bytes:
    return _spki(load_pem_private_key(pem, password=None).public_key())


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
