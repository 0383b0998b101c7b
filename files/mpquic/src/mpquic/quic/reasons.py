# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a connection is over, in words that fit one line of log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription

if TYPE_CHECKING:
    from aioquic.quic.events import ConnectionTerminated

#: RFC 9001 section 4.8: transport errors 0x100 to 0x1ff are TLS alerts.
_TLS_ALERTS = range(0x100, 0x200)
_NAMES = {alert.value: alert.name for alert in AlertDescription}
_NOT_PROVED = "the peer did not prove that it has the key of its certificate"
#: What the peer's alert is about.
_ABOUT_US = {
    AlertDescription.decrypt_error: "this end did not prove that it has the key of its certificate",
    AlertDescription.no_application_protocol: "it speaks none of the protocols of this end (ALPN)",
    AlertDescription.certificate_required: "it asks for a certificate, and this end showed none",
}
#: What aioquic says about limits that leave room for the control stream and nothing else.
_ABUSE = {
    QuicErrorCode.STREAM_LIMIT_ERROR: "the peer opened a stream beside the control stream",
    QuicErrorCode.FLOW_CONTROL_ERROR: "the peer sent more on the control stream than it may",
}


def reason(event: ConnectionTerminated, *, by_peer: bool, proof_awaited: bool) -> str:
    """Say why a connection is over; ``proof_awaited`` where TLS stood before the peer's proof of its key."""
    text = printable(event.reason_phrase)
    if event.error_code in _TLS_ALERTS:
        alert = event.error_code - _TLS_ALERTS.start
        if alert == AlertDescription.decrypt_error and not by_peer and proof_awaited:
            return _NOT_PROVED
        words = text or (_ABOUT_US.get(AlertDescription(alert), "") if by_peer and alert in _NAMES else "")
        return f"TLS alert {alert} ({_NAMES.get(alert, 'unknown')}){': ' + words if words else ''}"
    transport = event.frame_type is not None
    if transport and not by_peer and event.error_code in _ABUSE:
        return _ABUSE[QuicErrorCode(event.error_code)]
    if transport and not text and event.error_code == QuicErrorCode.APPLICATION_ERROR:
        # What an application says during the handshake is hidden (RFC 9000 section 10.2.3).
        return "refused during the handshake"
    return text or f"error 0x{event.error_code:x}"


def printable(text: str, limit: int = 120) -> str:
    """Return what a peer said in a form that fits one line of log."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:limit])
