# SPDX-License-Identifier: GPL-3.0-or-later
"""One aioquic connection as the core sees it (mpquic.core.connection.Connection)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from aioquic.quic import events

from mpquic.core.connection import CidIssued, CidRetired, Closed, Established
from mpquic.quic import private
from mpquic.quic.congestion import TunnelControl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aioquic.quic.connection import QuicConnection

    from mpquic.core.ackclock import AckClock
    from mpquic.core.connection import Event
    from mpquic.core.types import Address, Arrival, Datagram
    from mpquic.quic.congestion import ObservedControl

#: Seconds. aioquic compares floats: a timer fired at its very instant may not count as due and come back for ever.
_LATE = 2e-6
#: Bytes of QUIC around one DATAGRAM payload: flags 1, connection id 8, packet number 2, tag 16, type 1, length 2.
QUIC_OVERHEAD = 30
#: Bytes of a DATAGRAM frame around its payload: type 1, length 2.
_FRAME_OVERHEAD = 3
#: RFC 9001 section 4.8: transport errors 0x100 to 0x1ff are TLS alerts.
_TLS_ALERTS = range(0x100, 0x200)
#: Error code of a close that our own checks decide (application error, RFC 9000 section 20.2).
_REFUSED = 1


class Link:
    """Adapter of a QuicConnection. No method lets an exception of aioquic out: it becomes a Closed event."""

    __slots__ = ("_closed", "_connection", "_events", "_payloads", "_verdict", "clock", "max_payload", "session")

    def __init__(self, connection: QuicConnection, verdict: Callable[[QuicConnection], str | None]) -> None:
        """Wrap ``connection``. ``verdict`` judges the peer when the handshake is complete: None, or why not."""
        self._connection = connection
        self._verdict = verdict
        self._events: list[Event] = [CidIssued(connection.host_cid)]
        self._payloads: list[bytes] = []
        self._closed = False
        control = private.congestion_control(connection)
        if isinstance(control, TunnelControl):
            private.disable_pacer(connection)
        self.clock: AckClock = cast("TunnelControl | ObservedControl", control).clock
        self.max_payload = self.datagram_size - QUIC_OVERHEAD
        self.session = connection.original_destination_connection_id.hex()[:8]

    @property
    def peer(self) -> Address | None:
        """Where datagrams go now."""
        return self._connection.get_peer_address()

    @property
    def datagram_size(self) -> int:
        """Largest UDP payload that is sent (bytes)."""
        return private.datagram_size(self._connection)

    def set_datagram_size(self, size: int) -> None:
        """Send UDP payloads of at most ``size`` bytes from now on."""
        private.set_datagram_size(self._connection, size)
        self.max_payload = size - QUIC_OVERHEAD

    def open(self, arrivals: Sequence[Arrival], now: float) -> list[bytes]:
        """Take what arrived and return the DATAGRAM payloads it held."""
        if self._closed:
            return []
        receive = self._connection.receive_datagram
        try:
            for data, size, address in arrivals:
                for at in range(0, len(data), size or 1):
                    receive(data[at : at + size], address, now)
            self._drain()
        except Exception as error:  # noqa: BLE001 - a fault of the library must end one connection, not the daemon
            self._break(error)
        payloads, self._payloads = self._payloads, []
        return payloads

    def seal(self, payloads: Sequence[bytes], now: float) -> tuple[list[Datagram], int]:
        """Protect payloads and whatever else is due; return the UDP datagrams and how many payloads are in them."""
        connection = self._connection
        if connection.get_peer_address() is None:
            return [], 0
        try:
            for payload in payloads:
                connection.send_datagram_frame(payload)
            datagrams = cast("list[Datagram]", connection.datagrams_to_send(now))
        except Exception as error:  # noqa: BLE001
            self._break(error)
            return [], len(payloads)
        return datagrams, len(payloads) - private.take_back_datagrams(connection)

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        if not self._events:
            return []
        happened, self._events = self._events, []
        return happened

    def ping(self) -> None:
        """Ask for an acknowledgement."""
        self._connection.send_ping(0)

    def close(self, reason: str) -> None:
        """Say goodbye with the next seal()."""
        self._closed = True
        self._connection.close(reason_phrase=reason)

    def fire(self, now: float) -> None:
        """Run timers that are due."""
        if self._closed:
            return
        timer = self._timer()
        if now < timer + _LATE:
            return
        try:
            self._connection.handle_timer(now)
            self._drain()
        except Exception as error:  # noqa: BLE001
            self._break(error)

    def deadline(self) -> float:
        """Return when fire() must be called."""
        return math.inf if self._closed else self._timer() + _LATE

    def _timer(self) -> float:
        if self._connection.get_peer_address() is None:
            return math.inf
        timer = self._connection.get_timer()
        return math.inf if timer is None else timer

    def _drain(self) -> None:
        payloads = self._payloads
        next_event = self._connection.next_event
        while (event := next_event()) is not None:
            if isinstance(event, events.DatagramFrameReceived):
                payloads.append(event.data)
            elif isinstance(event, events.HandshakeCompleted):
                self._judge()
            elif isinstance(event, events.ConnectionIdIssued):
                self._events.append(CidIssued(event.connection_id))
            elif isinstance(event, events.ConnectionIdRetired):
                self._events.append(CidRetired(event.connection_id))
        closing = private.close_event(self._connection)
        if closing is not None and not self._closed:
            self._closed = True
            by_peer = not private.close_is_ours(self._connection) and closing.reason_phrase != "Idle timeout"
            self._events.append(Closed(_reason(closing), by_peer))

    def _judge(self) -> None:
        refusal = self._verdict(self._connection)
        limit = private.peer_datagram_frame_limit(self._connection) - _FRAME_OVERHEAD
        if refusal is None and limit < self.max_payload:
            refusal = f"peer takes datagrams of {max(0, limit)} bytes, {self.max_payload} are needed"
        if refusal is None:
            self._events.append(Established())
        else:
            self._connection.close(error_code=_REFUSED, reason_phrase="refused")
            self._closed = True
            self._events.append(Closed(refusal, by_peer=False))

    def _break(self, error: Exception) -> None:
        if not self._closed:
            self._closed = True
            self._events.append(
                Closed(f"internal error {type(error).__name__}: {printable(str(error))}", by_peer=False)
            )


def _reason(event: events.ConnectionTerminated) -> str:
    text = printable(event.reason_phrase)
    if event.error_code in _TLS_ALERTS:
        return f"TLS alert {event.error_code - _TLS_ALERTS.start}{': ' + text if text else ''}"
    return text or f"error 0x{event.error_code:x}"


def printable(text: str, limit: int = 120) -> str:
    """Return what a peer said in a form that fits one line of log."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:limit])
