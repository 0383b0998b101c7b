# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's Ed25519 key and its self-signed certificate. The key never leaves the host and is never overwritten."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import pwd
import socket
import stat
import tempfile
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
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

DIRECTORY_MODE = 0o750
KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644
SERVER_NAME = "mpquic-server"
"""The name a client expects by default (``tls_server_name``)."""

# A host without a battery clock may boot in the past.
# Peers pin the key, so the certificate's dates protect nothing; an expiry at sea would only cut the tunnels.
_BEGIN = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_END = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Identity:
    """What `ensure` found and did; `fingerprint` is None when a key would only be made."""

    fingerprint: str | None
    actions: tuple[str, ...]


def fingerprint(key: CertificatePublicKeyTypes) -> str:
    """Return ``sha256:`` and the hex SHA-256 of a key's SubjectPublicKeyInfo (RFC 5280 section 4.1)."""
    return "sha256:" + hashlib.sha256(_spki(key)).hexdigest()


def ensure(directory: Path, owner: str, *, dry: bool) -> Identity:
    """Make what is missing and repair modes and owners; with `dry` only say what would be done.

    Args:
        directory: Where ``key.pem`` and ``cert.pem`` are.
        owner: The user that reads them.
        dry: Change nothing.

    Raises:
        UsageError: there is no such user.
        HostError: a file is there but broken; it is left alone.

    """
    try:
        user = pwd.getpwnam(owner)
    except KeyError:
        raise UsageError(f"owner {owner}: there is no such user") from None
    key_file, cert_file = directory / "key.pem", directory / "cert.pem"
    # Read all, refuse all, before the first touch.
    key = _load_key(key_file)
    certificate = _load_certificate(cert_file)
    fresh = key is None
    if key is None:
        key = Ed25519PrivateKey.generate()
    renew = certificate is None or not _usable(certificate, key, cert_file)
    actions: list[str] = []
    if directory.is_dir():
        actions += _repair(directory, DIRECTORY_MODE, 0, user.pw_gid, dry=dry)
    else:
        actions.append(f"create {directory}")
        if not dry:
            directory.mkdir(parents=True)
            _repair(directory, DIRECTORY_MODE, 0, user.pw_gid, dry=False)
    if fresh:
        actions.append(f"create {key_file}")
        if not dry:
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _write(key_file, pem, KEY_MODE, user, replace=False)
    else:
        actions += _repair(key_file, KEY_MODE, user.pw_uid, user.pw_gid, dry=dry)
    if renew:
        actions.append(f"{'create' if certificate is None else 'renew'} {cert_file}")
        if not dry:
            _write(cert_file, _self_signed(key), CERTIFICATE_MODE, user, replace=True)
    else:
        actions += _repair(cert_file, CERTIFICATE_MODE, user.pw_uid, user.pw_gid, dry=dry)
    known = None if fresh and dry else fingerprint(key.public_key())
    return Identity(known, tuple(actions))


def _load_key(path: Path) -> Ed25519PrivateKey | None:
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise HostError(f"{path}: not an unencrypted PEM private key; move it away to have a new one made") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise HostError(f"{path}: expected an Ed25519 key; move it away to have a new one made")
    return key


def _load_certificate(path: Path) -> x509.Certificate | None:
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except ValueError:
        raise HostError(f"{path}: not a PEM certificate; move it away to have a new one made") from None


def _usable(certificate: x509.Certificate, key: Ed25519PrivateKey, path: Path) -> bool:
    """Tell whether a certificate still serves; one of a CA is the operator's, and is never replaced."""
    matches = _spki(certificate.public_key()) == _spki(key.public_key())
    if certificate.issuer != certificate.subject:
        if not matches:
            raise HostError(f"{path}: a CA signed it for another key than {path.parent / 'key.pem'}")
        return True
    return matches and certificate.not_valid_after_utc > dt.datetime.now(dt.UTC)


def _self_signed(key: Ed25519PrivateKey) -> bytes:
    host = socket.gethostname() or SERVER_NAME
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    names = dict.fromkeys((SERVER_NAME, host))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(text) for text in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, None)
    )
    return certificate.public_bytes(Encoding.PEM)


def _repair(path: Path, mode: int, uid: int, gid: int, *, dry: bool) -> list[str]:
    found = path.stat()
    actions = []
    if (found.st_uid, found.st_gid) != (uid, gid):
        actions.append(f"give {path} to {uid}:{gid}")
        if not dry:
            os.chown(path, uid, gid)
    if stat.S_IMODE(found.st_mode) != mode:
        actions.append(f"set mode of {path} from {stat.S_IMODE(found.st_mode):04o} to {mode:04o}")
        if not dry:
            path.chmod(mode)
    return actions


def _write(path: Path, content: bytes, mode: int, user: pwd.struct_passwd, *, replace: bool) -> None:
    """Write a file whole or not at all; without `replace` an existing file wins."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
            os.fchown(descriptor, user.pw_uid, user.pw_gid)
            file.flush()
            os.fsync(descriptor)
        if replace:
            os.replace(temporary, path)  # noqa: PTH105
        else:
            # Fails if the file is there by now, where a rename would replace it.
            os.link(temporary, path)
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)  # noqa: PTH108


def _spki(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
