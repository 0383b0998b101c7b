# SPDX-License-Identifier: GPL-3.0-or-later
"""Receive keys across key updates (RFC 9001 section 6): which keys open a packet, and how long the old ones stay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.quic import private

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection

    from mpquic.quic.private import ReceiveKeys

#: RFC 9001 section 6.5: old keys are kept for so many probe timeouts after the first packet under the new ones.
_KEEP = 3


@dataclass(slots=True)
class _Old:
    keys: ReceiveKeys
    #: Lowest packet number received under the new keys; older ones may still be under the old.
    boundary: float = math.inf
    until: float = math.inf


class KeyPhases:
    """The receive keys of one connection, now and before the last update."""

    __slots__ = ("_connection", "_old", "current", "first_sent", "updated_at", "updates")

    def __init__(self, connection: QuicConnection, now: float) -> None:
        """Start with the keys of the handshake."""
        self._connection = connection
        self._old: _Old | None = None
        self.current = private.receive_keys(connection)
        #: Key updates since, whoever began them.
        self.updates = 0
        self.updated_at = now
        #: First packet number that left under the present keys.
        self.first_sent = private.next_packet_number(connection)

    def refresh(self, now: float) -> None:
        """Notice that aioquic has changed keys. Call after everything that may do so."""
        if private.same_receive_keys(self._connection, self.current):
            return
        self._old = _Old(self.current)
        self.current = private.receive_keys(self._connection)
        self.updates += 1
        self.updated_at = now
        self.first_sent = private.next_packet_number(self._connection)

    @property
    def changing(self) -> bool:
        """Tell whether old keys are still kept."""
        return self._old is not None

    def old(self, packet_number: int) -> ReceiveKeys | None:
        """Return the keys of a packet whose key phase is not the present one; None when they must be the next."""
        old = self._old
        return old.keys if old is not None and packet_number < old.boundary else None

    def received(self, packet_number: int, now: float) -> None:
        """Note a packet under the present keys."""
        old = self._old
        if old is None:
            return
        if old.until is math.inf:
            old.until = now + _KEEP * private.probe_timeout(self._connection)
        old.boundary = min(old.boundary, packet_number)
        if now > old.until:
            self._old = None

    def settled(self, largest_acked: int) -> bool:
        """Tell whether a next update may begin (RFC 9001 sections 6.1 and 6.5).

        The peer has answered under the present keys and nothing under the old ones is awaited.
        """
        return self._old is None and largest_acked >= self.first_sent
