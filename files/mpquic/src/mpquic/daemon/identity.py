# SPDX-License-Identifier: GPL-3.0-or-later
"""What this end shows of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from mpquic.quic import spki_pin

if TYPE_CHECKING:
    from pathlib import Path


def own_pin(cert_file: Path | None) -> str | None:
    """Return ``sha256:<hex>`` of the key in a PEM certificate, None without a file. Raises OSError or ValueError."""
    if cert_file is None:
        return None
    return spki_pin(x509.load_pem_x509_certificates(cert_file.read_bytes())[0])
