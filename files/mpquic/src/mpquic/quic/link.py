# SPDX-License-Identifier: GPL-3.0-or-later
"""One aioquic connection as the core sees it (mpquic.core.connection.Connection)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from aioquic.quic import events

from mpquic.core.connection import CidIssued, CidRetired, Closed, ControlData, Established, ProbeAcked
from mpquic.core.wire import CID_LENGTH
from mpquic.quic import credentials, private, reasons
from mpquic.quic import seal as sealing
from mpquic.quic.congestion import TunnelControl
from mpquic.quic.keyphase import KeyPhases
from mpquic.quic.protection import PURE
from mpquic.quic.window import ReceiveWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aioquic.quic.events import QuicEvent

    from mpquic.core.ackclock import AckClock
    from mpquic.core.connection import Event, Identity
    from mpquic.core.types import Address, Arrival, Datagram
    from mpquic.quic.congestion import ObservedControl
    from mpquic.quic.opening import Opener
    from mpquic.quic.private import ReceiveKeys
    from mpquic.quic.protection import Protection
    from mpquic.quic.recovery import TunnelRecovery
    from mpquic.quic.seal import Sealer
    from mpquic.quic.tunnel import TunnelConnection

#: Seconds. aioquic compares floats: a timer fired at its very instant may not count as due and come back for ever.
_LATE = 2e-6
#: Bytes of QUIC around one DATAGRAM payload: flags 1, connection id 8, packet number 2, tag 16, type 1, length 2.
QUIC_OVERHEAD = 30
#: Seconds after which data is acknowledged: under load one ACK for a hundred packets.
ACK_DELAY = 0.005
#: Acknowledgements sent for one PING: nobody acknowledges acknowledgements alone, and without an answer aioquic would
#: keep a record of each for ever (RFC 9000 section 13.2.4).
ACKS_UNANSWERED = 64
#: Packets after which keys are updated. AES-GCM is good for 2^23 (RFC 9001 section 6.6).
KEY_UPDATE_PACKETS = 1 << 20
#: Seconds after which keys are updated on a tunnel that carries little.
KEY_UPDATE_SECONDS = 900.0
#: Bytes of a DATAGRAM frame around its payload: type 1, length 2.
_FRAME_OVERHEAD = 3
#: The one stream there is, bidirectional and opened by the client (RFC 9000 section 2.1).
_CONTROL_STREAM = 0
_STREAM_EVENTS = (events.StreamDataReceived, events.StreamReset, events.StopSendingReceived)
#: Error code of a close that our own checks decide (application error, RFC 9000 section 20.2).
_REFUSED = 1


class Link:
    """Adapter of a QuicConnection. No method lets an exception of aioquic out: it becomes a Closed event."""

    __slots__ = (
        "_closed",
        "_connection",
        "_control_open",
        "_due",
        "_early",
        "_events",
        "_fast",
        "_opener",
        "_phases",
        "_probes",
        "_protection",
        "_recovery",
        "_sealer",
        "_who",
        "_window",
        "_window_used",
        "clock",
        "max_payload",
        "session",
    )

    def __init__(
        self,
        connection: TunnelConnection,
        who: Callable[[TunnelConnection], Identity | str],
        protection: Protection = PURE,
    ) -> None:
        """Wrap ``connection``. ``who`` tells, when the handshake is complete, who the peer is or why it is refused.

        ``protection`` seals and opens packets.
        """
        self._connection = connection
        self._who = who
        self._protection = protection
        self._sealer: Sealer | None = None
        self._events: list[Event] = [CidIssued(connection.host_cid)]
        self._closed = False
        #: aioquic has something to send beside acknowledgements, or may have.
        self._due = True
        self._probes: list[int] = []
        #: A server may write to the stream once its client has opened it, and keeps until then what it has to say.
        self._control_open = connection.configuration.is_client
        self._early = b""
        self._window = ReceiveWindow()
        self._window_used = False
        self._phases: KeyPhases | None = None
        self._opener: Opener | None = None
        control = private.congestion_control(connection)
        self.clock: AckClock = cast("TunnelControl | ObservedControl", control).clock
        self._recovery = private.install_recovery(connection, self.clock)
        #: Whether datagrams are sealed here. Loss-based control must see every packet, so aioquic builds them then.
        self._fast = isinstance(control, TunnelControl)
        if self._fast:
            private.disable_pacer(connection)
        self.max_payload = 0
        self.set_datagram_size(self.datagram_size)
        self.session = connection.original_destination_connection_id.hex()[:8]

    @property
    def peer(self) -> Address | None:
        """Where datagrams go now."""
        return self._connection.get_peer_address()

    @property
    def claimed(self) -> str | None:
        """``sha256:<hex>`` of the key in the certificate that the peer showed, proved or not."""
        certificate = private.peer_certificate(self._connection)
        try:
            return credentials.spki_pin(certificate) if certificate is not None else None
        except Exception:  # noqa: BLE001 - a stranger's key may be of any kind or of none
            return None

    @property
    def key_updates(self) -> int:
        """Number of key updates so far, whoever began them."""
        return self._phases.updates if self._phases is not None else 0

    @property
    def congestion_controlled(self) -> bool:
        """Tell whether a congestion controller reacts to loss."""
        return not self._fast

    @property
    def datagram_size(self) -> int:
        """Largest UDP payload that is sent (bytes)."""
        return private.datagram_size(self._connection)

    def identify(self, who: Callable[[TunnelConnection], Identity]) -> Identity:
        """Ask ``who`` the peer is, whose handshake is complete."""
        return who(self._connection)

    def set_datagram_size(self, size: int) -> None:
        """Send UDP payloads of at most ``size`` bytes from now on."""
        private.set_datagram_size(self._connection, size)
        self.max_payload = size - QUIC_OVERHEAD - max(0, private.peer_cid_length(self._connection) - CID_LENGTH)

    def open(self, arrivals: Sequence[Arrival], now: float) -> list[bytes]:
        """Take what arrived and return the DATAGRAM payloads it held."""
        if self._closed:
            return []
        payloads: list[bytes] = []
        try:
            if self._opener is not None:
                self._opener.open(arrivals, now, payloads)
            else:
                for data, size, address in arrivals:
                    for at in range(0, len(data), size):
                        self._receive(data[at : at + size], address, now, None, payloads)
                self._prepare_fast(now)
        except Exception as error:  # noqa: BLE001 - a fault of the library must end one connection, not the daemon
            self._break(error)
        return payloads

    def seal(self, payloads: Sequence[bytes], now: float) -> tuple[list[Datagram], int]:
        """Protect payloads and whatever else is due; return the UDP datagrams and how many payloads are in them."""
        connection = self._connection
        if connection.get_peer_address() is None:
            return [], 0
        try:
            if not self._fast or self._phases is None or not private.may_seal(connection):
                for payload in payloads:
                    connection.send_datagram_frame(payload)
                datagrams = self._general(now)
                taken = len(payloads) - private.take_back_datagrams(connection)
                if self._phases is not None and private.may_seal(connection):
                    if self._probes:
                        datagrams += self._seal([], self._recovery, now)
                    self._keep_keys_fresh(self._phases, now)
                return datagrams, taken
            datagrams = self._seal(payloads, self._recovery, now) if payloads or self._probes else []
            if self._due or private.ack_is_due(connection, now):
                datagrams += self._general(now)
            self._keep_keys_fresh(self._phases, now)
        except Exception as error:  # noqa: BLE001
            self._break(error)
            return [], len(payloads)
        return datagrams, len(payloads)

    def probe(self, size: int) -> None:
        """Send a PING padded to ``size`` bytes of UDP payload with the next seal() to a confirmed peer."""
        self._probes.append(size)

    def update_keys(self) -> None:
        """Begin a key update with the next packet (RFC 9001 section 6.1)."""
        self._connection.request_key_update()
        self.ping()

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        if self._recovery.probes_acked:
            self._events += map(ProbeAcked, self._recovery.probes_acked)
            self._recovery.probes_acked.clear()
        if not self._events:
            return []
        happened, self._events = self._events, []
        return happened

    def control(self, data: bytes) -> None:
        """Append to the control stream."""
        if self._closed:
            return
        if not self._control_open:
            self._early += data
            return
        try:
            self._connection.send_stream_data(_CONTROL_STREAM, data)
        except Exception as error:  # noqa: BLE001
            self._break(error)
        self._due = True

    def ping(self) -> None:
        """Ask for an acknowledgement."""
        self._connection.send_ping(0)
        self._due = True

    def move(self) -> None:
        """Go on from another address of this host, under another connection id (RFC 9000 section 9.5)."""
        self._connection.change_connection_id()
        # What the old path took says nothing about the new one (RFC 9000 section 9.4).
        self.clock.anew()
        self.ping()

    def close(self, reason: str) -> None:
        """Say goodbye with the next seal()."""
        self._closed = True
        self._due = True
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
            self._due = True
            self._drain([])
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

    def _receive(
        self, data: bytes, address: Address, now: float, keys: ReceiveKeys | None, payloads: list[bytes]
    ) -> None:
        """Let aioquic take one datagram, under keys of an earlier phase if given."""
        if self._closed or self._moves_early(address):
            return
        if not self._window_used:
            self._window_used = private.use_window(self._connection, self._window)
        if keys is None:
            self._connection.receive_datagram(data, address, now)
        else:
            private.receive_with(self._connection, keys, data, address, now)
        self._due = True
        self._drain(payloads)
        if private.handshake_too_large(self._connection):
            self._refuse(f"TLS message of more than {private.MAX_HANDSHAKE} bytes", "TLS message too large")

    def _moves_early(self, address: Address) -> bool:
        """Tell whether a datagram would move a client's handshake to another address.

        RFC 9000 section 9 forbids it, and section 8.1 takes what arrives then for a proof of an address; aioquic takes
        it for a proof of the new one, to which the sender may never have been.
        """
        if self._phases is not None or self._connection.configuration.is_client:
            return False
        peer = self._connection.get_peer_address()
        return peer is not None and address != peer

    def _prepare_fast(self, now: float) -> None:
        """Open the fast way once the handshake is confirmed."""
        if self._window_used and private.may_open(self._connection):
            # A Retry makes the spaces anew.
            private.use_window(self._connection, self._window)
            self._phases = KeyPhases(self._connection, now)
            self._sealer = self._protection.sealer(self._connection)
            self._opener = self._protection.opener(self._connection, self._phases, self._window, self._receive)
            private.set_ack_delay(self._connection, ACK_DELAY)
            self.set_datagram_size(self.datagram_size)

    def _general(self, now: float) -> list[Datagram]:
        """Return what aioquic has to send."""
        self._due = False
        datagrams = self._connection.datagrams_to_send(now)
        if private.over_amplification_limit(self._connection):
            return []
        if self._phases is not None:
            self._phases.refresh(now)
            if len(private.packet_space(self._connection).sent_packets) % ACKS_UNANSWERED == ACKS_UNANSWERED - 1:
                self.ping()
        return datagrams

    def _seal(self, payloads: Sequence[bytes], recovery: TunnelRecovery, now: float) -> list[Datagram]:
        connection = self._connection
        address = private.active_address(connection)
        sealed: list[bytes] = []
        if payloads:
            state = private.send_state(connection)
            room = self.datagram_size - sealing.overhead(len(state.cid))
            assert self._sealer is not None
            sealed = self._sealer.seal(payloads, room, state)
            private.note_sealed(connection, recovery, list(map(len, sealed)), now)
        for size in self._probes:
            state = private.send_state(connection)
            sealed += sealing.seal([sealing.padded_ping(size - sealing.overhead(len(state.cid)))], state)
            private.note_sealed(connection, recovery, [size], now, probe=size)
        self._probes.clear()
        return [(packet, address) for packet in sealed]

    def _keep_keys_fresh(self, phases: KeyPhases, now: float) -> None:
        sent = private.next_packet_number(self._connection) - phases.first_sent
        worn = sent >= KEY_UPDATE_PACKETS or (sent > 0 and now >= phases.updated_at + KEY_UPDATE_SECONDS)
        if worn and phases.settled(private.packet_space(self._connection).largest_acked_packet):
            self.update_keys()

    def _drain(self, payloads: list[bytes]) -> None:
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
            elif isinstance(event, _STREAM_EVENTS):
                self._control_event(event)
        closing = private.close_event(self._connection)
        if closing is not None and not self._closed:
            self._closed = True
            by_peer = not private.close_is_ours(self._connection) and closing.reason_phrase != "Idle timeout"
            proof_awaited = private.proof_is_awaited(self._connection)
            self._events.append(Closed(reasons.reason(closing, by_peer=by_peer, proof_awaited=proof_awaited), by_peer))

    def _control_event(self, event: QuicEvent) -> None:
        if self._closed:
            return
        if not isinstance(event, events.StreamDataReceived):
            self._refuse("the peer gave up the control stream", "control stream lost")
            return
        if event.data:
            self._events.append(ControlData(event.data))
        if event.end_stream:
            self._refuse("the peer ended the control stream", "control stream ended")
        elif not self._control_open:
            self._control_open = True
            self.control(self._early)
            self._early = b""

    def _judge(self) -> None:
        who = self._who(self._connection)
        limit = private.peer_datagram_frame_limit(self._connection) - _FRAME_OVERHEAD
        if isinstance(who, str):
            self._refuse(who)
        elif limit < self.max_payload:
            self._refuse(f"peer takes datagrams of {max(0, limit)} bytes, {self.max_payload} are needed")
        else:
            self._events.append(Established(who))

    def _refuse(self, reason: str, phrase: str = "refused") -> None:
        """End the connection for ``reason``, and tell the peer no more than ``phrase``."""
        if not self._closed:
            self._connection.close(error_code=_REFUSED, reason_phrase=phrase)
            self._closed = True
            self._events.append(Closed(reason, by_peer=False))

    def _break(self, error: Exception) -> None:
        if not self._closed:
            self._closed = True
            self._events.append(
                Closed(f"internal error {type(error).__name__}: {reasons.printable(str(error))}", by_peer=False)
            )
