# SPDX-License-Identifier: GPL-3.0-or-later
"""Every private name of aioquic that this program touches, and nothing else that is private.

aioquic is pinned to one version; ``mpquic.quic.selftest`` proves at start-up that each name still means this.

======================================  =====  =====================================================================
name                                    use    because
======================================  =====  =====================================================================
``_datagrams_pending``                  rw     it has no bound and no age: what could not leave is taken back
``_loss._cc``                           r      the congestion controller carries the AckClock of its connection
``_loss._pacer``                        w      it lets at most 16 packets go per call, whatever the window
``_remote_max_datagram_frame_size``     r      sending more than the peer takes kills the connection
``_max_datagram_size``                  rw     the path decides what a datagram may hold, after the handshake as well
``_close_event``, ``_close_pending``    r      the public event comes three probe timeouts after the fact
``tls._peer_certificate``               r      pinning needs the certificate that the peer proved to own
======================================  =====  =====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioquic.quic.recovery import QuicPacketPacer

if TYPE_CHECKING:
    from aioquic.quic.congestion.base import QuicCongestionControl
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.events import ConnectionTerminated
    from cryptography.x509 import Certificate

# ruff: noqa: SLF001 - this is the one module that may


class _NoPacer(QuicPacketPacer):
    """A pacer that never asks to wait."""

    def next_send_time(self, now: float) -> float:
        del now
        return None  # type: ignore[return-value]  # aioquic's annotation forgets None, its code returns it


def take_back_datagrams(connection: QuicConnection) -> int:
    """Empty the queue of DATAGRAM frames and return how many were in it."""
    pending = connection._datagrams_pending
    count = len(pending)
    if count:
        pending.clear()
    return count


def congestion_control(connection: QuicConnection) -> QuicCongestionControl:
    """Return the congestion controller of this connection."""
    return connection._loss._cc


def disable_pacer(connection: QuicConnection) -> None:
    """Let every packet go at once."""
    connection._loss._pacer = _NoPacer(max_datagram_size=connection.configuration.max_datagram_size)


def peer_datagram_frame_limit(connection: QuicConnection) -> int:
    """Return the largest DATAGRAM frame the peer takes (bytes, RFC 9221 section 3), 0 for none."""
    return connection._remote_max_datagram_frame_size or 0


def datagram_size(connection: QuicConnection) -> int:
    """Return the largest UDP payload that is built (bytes)."""
    return connection._max_datagram_size


def set_datagram_size(connection: QuicConnection, size: int) -> None:
    """Build UDP payloads of at most ``size`` bytes from now on."""
    connection._max_datagram_size = size


def close_event(connection: QuicConnection) -> ConnectionTerminated | None:
    """Return why the connection closes or has closed, None while it does not."""
    return connection._close_event


def close_is_ours(connection: QuicConnection) -> bool:
    """Tell whether a CONNECTION_CLOSE of our own still waits to be sent."""
    return connection._close_pending


def peer_certificate(connection: QuicConnection) -> Certificate | None:
    """Return the certificate whose key signed the peer's CertificateVerify."""
    return connection.tls._peer_certificate
