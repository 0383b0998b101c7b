# SPDX-License-Identifier: GPL-3.0-or-later
"""What this end shows of itself, and whom it trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from mpquic.quic import spki_pin

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.config import InstanceConfig
    from mpquic.core.connection import Connection


class Credentials:
    """What a client's connections were made with: its key, and what vouches for its server."""

    def __init__(self, config: InstanceConfig) -> None:
        """Read the files. Raises OSError or ValueError."""
        #: ``sha256:<hex>`` of the key that this end shows, None without one.
        self.identity = own_pin(config.tls_cert_file)
        self._certificate = config.tls_cert_file.read_bytes() if config.tls_cert_file is not None else None
        self._pins = config.tls_server_pin
        # Of the file its content: it may change in its place.
        ca = config.tls_ca_file.read_bytes() if config.tls_ca_file is not None else None
        self.anchors = (config.tls_server_name, ca)

    def __eq__(self, other: object) -> bool:
        """Tell whether connections are made alike with both, which have the same settings otherwise."""
        return isinstance(other, Credentials) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def differs(self, before: Credentials, connection: Connection | None) -> bool:
        """Tell whether a connection made with ``before`` shows another key, or one that is trusted no more."""
        seen = connection.claimed if connection is not None else None
        trusted = not self._pins or seen in self._pins
        return (self.identity, self.anchors) != (before.identity, before.anchors) or not trusted


def own_pin(cert_file: Path | None) -> str | None:
    """Return ``sha256:<hex>`` of the key in a PEM certificate, None without a file. Raises OSError or ValueError."""
    if cert_file is None:
        return None
    return spki_pin(x509.load_pem_x509_certificates(cert_file.read_bytes())[0])
