# SPDX-License-Identifier: GPL-3.0-or-later
"""The key of the page and a certificate that it signs itself.

The host's own key (docs/identity.md) does not do: browsers take no Ed25519, and nobody but the tunnels is to have it.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from mpquic.host.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

CERTIFICATE, KEY = "cert.pem", "key.pem"
"""Names of the files."""
#: Days that it is valid: a browser that was told to trust it asks anew after that.
_DAYS = 3650


def make(address: str) -> tuple[bytes, bytes]:
    """Return a new certificate for an address of this host, and its key, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"mpquic {address}")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # The clocks of browsers may be behind.
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), pem


def good_for(folder: Path, address: str) -> bool:
    """Tell whether there are a certificate for an address, not expired, and a key."""
    try:
        found = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    named = ip_address(address) in names.get_values_for_type(x509.IPAddress)
    return named and found.not_valid_after_utc > datetime.now(UTC) and (folder / KEY).exists()


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of the certificate as browsers show it, empty without one."""
    with contextlib.suppress(OSError, ValueError):
        der = ssl.PEM_cert_to_DER_cert((folder / CERTIFICATE).read_text(encoding="ascii"))
        return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())
    return ""


def context(folder: Path) -> ssl.SSLContext:
    """Return what a server needs to speak TLS 1.3. Raises ConfigError."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        found.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "no certificate with its key"
        raise ConfigError(f"{folder}: {CERTIFICATE}, {KEY}: {reason} (mpquic page certificate)") from error
    return found
