# SPDX-License-Identifier: GPL-3.0-or-later
"""QUIC by aioquic. No other package of this program imports aioquic."""

from mpquic.quic.credentials import Identity, Trust, spki_pin
from mpquic.quic.endpoint import ALPN, LEGACY_ALPN, ClientEndpoint, ServerEndpoint, udp_payload_size
from mpquic.quic.selftest import SelfTestError
from mpquic.quic.selftest import run as self_test

__all__ = [
    "ALPN",
    "LEGACY_ALPN",
    "ClientEndpoint",
    "Identity",
    "SelfTestError",
    "ServerEndpoint",
    "Trust",
    "self_test",
    "spki_pin",
    "udp_payload_size",
]
