# SPDX-License-Identifier: GPL-3.0-or-later
"""aioquic's connection as a tunnel needs it: both ends show who they are, and there is one stream of fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioquic.quic.connection import QuicConnection

if TYPE_CHECKING:
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.connection import Limit
    from aioquic.quic.packet import QuicHeader
    from aioquic.quic.packet_builder import QuicPacketBuilder
    from aioquic.quic.recovery import QuicPacketSpace
    from aioquic.quic.stream import QuicStream

    from mpquic.core.connection import Retried


#: Longest Retry token that is taken (bytes). It is repeated in every Initial and must leave room there: otherwise what
#: is due can never leave, and is due again at once.
MAX_TOKEN = 512


class TunnelConnection(QuicConnection):
    """A QuicConnection with mutual authentication and a single bidirectional stream, opened by the client."""

    def __init__(
        self, configuration: QuicConfiguration, destination: bytes | None = None, retried: Retried | None = None
    ) -> None:
        """Make a client's end; or a server's, whose client sent an Initial to ``destination``, after a Retry or not."""
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=retried.original if retried is not None else destination,
            retry_source_connection_id=retried.source if retried is not None else None,
        )
        _pin(self._local_max_streams_bidi, 0 if configuration.is_client else 1)
        _pin(self._local_max_streams_uni, 0)

    def _initialize(self, peer_cid: bytes) -> None:
        # After a Retry a client begins anew. What it sent before is owed by nobody, and is in flight no more.
        for space in self._loss.spaces:
            self._loss.discard_space(space)
        super()._initialize(peer_cid)
        self.tls._request_client_certificate = not self._is_client  # noqa: SLF001 - see mpquic.quic.private

    def _receive_retry_packet(self, header: QuicHeader, packet_without_tag: bytes, now: float) -> None:
        if len(header.token) <= MAX_TOKEN:
            super()._receive_retry_packet(header, packet_without_tag, now)

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        """Grant nothing on top of what the transport parameters did."""

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        """Grant nothing on top of what the transport parameters did."""


def _pin(limit: Limit, value: int) -> None:
    limit.value = limit.sent = value
