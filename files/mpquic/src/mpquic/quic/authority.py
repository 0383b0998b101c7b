# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CA says about a peer's certificate: the names it vouches for, or in words why it vouches for none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioquic.tls import Alert, AlertBadCertificate, utcnow, verify_certificate
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import DNSName, ExtendedKeyUsage, ExtensionNotFound, SubjectAlternativeName
from cryptography.x509.oid import ExtendedKeyUsageOID

from mpquic.quic.credentials import read_certificates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.x509 import Certificate, ObjectIdentifier

#: What a certificate is for (RFC 5280 section 4.2.1.12).
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
_USES = {CLIENT: "clients", SERVER: "servers"}


class _FaultError(Exception):
    """Why nothing is vouched for."""


class Authority:
    """The certificates of one file as trust anchors."""

    def __init__(self, ca_file: Path) -> None:
        """Read the file. Raises OSError or ValueError."""
        #: What the file says, and nothing of how it says it.
        # Written anew: aioquic takes no comments between certificates and no other ends of lines.
        self.pem = b"".join([item.public_bytes(Encoding.PEM) for item in read_certificates(ca_file)])

    def vouch(
        self, certificate: Certificate, chain: Sequence[Certificate], use: ObjectIdentifier, name: str | None = None
    ) -> tuple[tuple[str, ...], str]:
        """Return the DNS names of a certificate whose chain holds at this moment, or no names and why it does not.

        ``use`` is CLIENT or SERVER; ``name`` is the DNS name or IP address that it has to be for.
        """
        try:
            return self._names(certificate, list(chain), use, name), ""
        except _FaultError as fault:
            return (), str(fault)
        except Exception as error:  # noqa: BLE001 - a certificate of a stranger may make any part of a parser fail
            return (), f"certificate cannot be read: {type(error).__name__}"

    def _names(
        self, certificate: Certificate, chain: list[Certificate], use: ObjectIdentifier, name: str | None
    ) -> tuple[str, ...]:
        now = utcnow()
        if now < certificate.not_valid_before_utc:
            raise _FaultError(f"certificate not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")
        if now > certificate.not_valid_after_utc:
            raise _FaultError(f"certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
        if not _is_for(certificate, use):
            raise _FaultError(f"certificate is not for TLS {_USES[use]} (extended key usage)")
        try:
            verify_certificate(certificate, chain, cadata=self.pem)
        except Alert as alert:
            dated = "expired" in str(alert) or "not yet valid" in str(alert)
            what = "chain does not hold" if dated else "not issued by the CA"
            raise _FaultError(f"certificate {what}: {alert}") from None
        names = _dns_names(certificate)
        if name is not None:
            try:
                verify_certificate(certificate, chain, server_name=name, cadata=self.pem)
            except AlertBadCertificate:
                raise _FaultError(f"certificate is for {', '.join(names) or 'no name'}, not for {name}") from None
        return names


def _is_for(certificate: Certificate, use: ObjectIdentifier) -> bool:
    try:
        uses = certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value
    except ExtensionNotFound:
        return True
    return use in uses or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in uses


def _dns_names(certificate: Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return ()
    # Others have no place in one (RFC 5280 section 4.2.1.6), and may turn into another name in lower case.
    return tuple([name for name in names.get_values_for_type(DNSName) if name.isascii()])
