# SPDX-License-Identifier: GPL-3.0-or-later
"""Every private name of aioquic that this program touches, and nothing else that is private.

aioquic is pinned to one version; ``mpquic.quic.selftest`` proves at start-up that each name still means this.

======================================  =====  ========================================================================
name                                    use    because
======================================  =====  ========================================================================
``_datagrams_pending``                  rw     it has no bound and no age: what could not leave is taken back
``_loss``, ``_send_probe``              rw     TunnelRecovery takes its place before anything is sent
``_loss._cc``                           r      the congestion controller carries the AckClock of its connection
``_loss._pacer``                        w      it lets at most 16 packets go per call, whatever the window
``_max_datagram_size``                  rw     the path decides what a datagram may hold, after the handshake as well
``_remote_max_datagram_frame_size``     r      sending more than the peer takes kills the connection
``_close_event``, ``_close_pending``    r      the public event comes three probe timeouts after the fact
``tls._peer_certificate``, its chain    r      who the peer is: aioquic tells no application
``tls._request_client_certificate``     w      TunnelConnection: a server asks its client who it is
``tls._receive_buffer``                 r      a TLS message may claim 16 MB, and is kept until it is complete
``connection.MAX_PENDING_CRYPTO``       w      512 kB out of order is much for a peer that is not known yet
``_local_max_streams_bidi``, ``_uni``   w      TunnelConnection: one stream, opened by the client
``_write_connection_limits()``          w      TunnelConnection: aioquic doubles flow control limits as they are used
``_write_stream_limits()``              w      the same
``_initialize()``                       w      TunnelConnection: where the TLS context and the spaces are made
``_receive_retry_packet()``             w      TunnelConnection: no token may fill an Initial
``connection.MAX_ACK_RANGES``           w      64 ranges are too few for a window of 8192: late packets went unanswered
``_ack_delay``                          w      an ACK per millisecond costs more than the data it acknowledges
``_spaces``                             r      packet number space of 1-RTT packets
``_cryptos``                            r      packet protection keys of 1-RTT packets, and their next phase
``aead._aead``, ``aead._iv``            r      sealing and opening without one call per packet
``hp._encryptor``, ``hp._is_chacha20``  r      header protection of a batch in one call
``derive_key_iv_hp()``, ``.secret``     r      the native data plane needs keys as bytes
``_packet_number``                      rw     sealed packets share the number space
``_peer_cid``, ``_host_cids``           r      connection ids of the packets
``_spin_bit``, ``_spin_highest_pn``     rw     RFC 9000 section 17.4
``_network_paths``                      r      the fast way needs a validated path; a close heeds no limit of bytes
``_handshake_confirmed``, ``_state``    r      when the fast way is open
``_close_at``, ``_idle_timeout()``      rw     sealed and opened packets restart the idle timer as others do
``_ack_eliciting_sent_since_receipt``   rw     the same, RFC 9000 section 10.1
======================================  =====  ========================================================================
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aioquic.quic.connection
from aioquic.quic.connection import END_STATES
from aioquic.quic.crypto import CryptoContext, derive_key_iv_hp
from aioquic.quic.recovery import QuicPacketPacer
from aioquic.tls import Epoch, State

from mpquic.quic.recovery import TunnelRecovery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aioquic.quic.congestion.base import QuicCongestionControl
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.events import ConnectionTerminated
    from aioquic.quic.recovery import QuicPacketSpace
    from aioquic.tls import CipherSuite
    from cryptography.x509 import Certificate

    from mpquic.core.ackclock import AckClock
    from mpquic.core.types import Address
    from mpquic.quic.window import ReceiveWindow

# ruff: noqa: SLF001 - this is the one module that may

#: Ranges of received packets that are kept and told to the peer: as many as an ACK frame of the smallest datagram is
#: sure to hold with packet numbers of four bytes.
ACK_RANGES = 140
#: Bytes of a handshake that are kept for a peer: of a TLS message that is not complete, and of what came out of order.
#: Chains of certificates have a few thousand.
MAX_HANDSHAKE = 32768
# Imported there, not exported.
setattr(aioquic.quic.connection, "MAX_ACK_RANGES", ACK_RANGES)  # noqa: B010
setattr(aioquic.quic.connection, "MAX_PENDING_CRYPTO", MAX_HANDSHAKE)  # noqa: B010


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


_PROOF_AWAITED = {State.CLIENT_EXPECT_CERTIFICATE_VERIFY, State.SERVER_EXPECT_CERTIFICATE_VERIFY}

# --- identity -------------------------------------------------------------------------------------------------------


def peer_certificate(connection: QuicConnection) -> Certificate | None:
    """Return the certificate that the peer showed. When the handshake is complete, it has proved to own the key."""
    # There is no TLS before the first packet.
    tls = getattr(connection, "tls", None)
    return tls._peer_certificate if tls is not None else None


def peer_chain(connection: QuicConnection) -> list[Certificate]:
    """Return the certificates that the peer sent along with its own."""
    return connection.tls._peer_certificate_chain


def proof_is_awaited(connection: QuicConnection) -> bool:
    """Tell whether TLS stands where the peer's CertificateVerify belongs, or failed there."""
    tls = getattr(connection, "tls", None)
    return tls is not None and tls.state in _PROOF_AWAITED


def handshake_too_large(connection: QuicConnection) -> bool:
    """Tell whether more of a TLS message came than there should ever be."""
    tls = getattr(connection, "tls", None)
    return tls is not None and len(tls._receive_buffer) > MAX_HANDSHAKE


def over_amplification_limit(connection: QuicConnection) -> bool:
    """Tell whether an address that is not validated was sent more than three times what it sent (RFC 9000 section 8.1).

    aioquic keeps to the limit, except when it closes the connection.
    """
    path = connection._network_paths[0]
    return not path.is_validated and path.bytes_sent > 3 * path.bytes_received


# --- loss recovery --------------------------------------------------------------------------------------------------


def install_recovery(connection: QuicConnection, clock: AckClock) -> TunnelRecovery:
    """Replace loss recovery by one that takes sealed batches. Only before anything was sent."""
    plain = connection._loss
    recovery = TunnelRecovery(
        congestion_control_algorithm=connection.configuration.congestion_control_algorithm,
        initial_rtt=connection.configuration.initial_rtt,
        max_datagram_size=connection._max_datagram_size,
        peer_completed_address_validation=plain.peer_completed_address_validation,
        send_probe=connection._send_probe,
    )
    recovery._cc = plain._cc
    recovery.attach(clock)
    connection._loss = recovery
    return recovery


def probe_timeout(connection: QuicConnection) -> float:
    """Return the probe timeout without backoff (seconds, RFC 9002 section 6.2.1)."""
    return connection._loss.get_probe_timeout()


def set_ack_delay(connection: QuicConnection, delay: float) -> None:
    """Acknowledge after ``delay`` seconds; at most the 25 ms that the transport parameters promise."""
    connection._ack_delay = delay


def ack_is_due(connection: QuicConnection, now: float) -> bool:
    """Tell whether an acknowledgement should leave now."""
    at = connection._spaces[Epoch.ONE_RTT].ack_at
    return at is not None and at <= now


# --- packet protection ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReceiveKeys:
    """Keys of one key phase."""

    context: CryptoContext
    decrypt: Callable[[bytes, bytes, bytes], bytes]
    iv: int
    phase: int


def receive_keys(connection: QuicConnection) -> ReceiveKeys:
    """Return the present receive keys; a later key update does not change them."""
    context = copy.copy(connection._cryptos[Epoch.ONE_RTT].recv)
    assert context.aead is not None
    return ReceiveKeys(context, context.aead._aead.decrypt, context.aead._iv, context.key_phase)


def same_receive_keys(connection: QuicConnection, keys: ReceiveKeys) -> bool:
    """Tell whether there was no key update since ``keys`` were taken."""
    return connection._cryptos[Epoch.ONE_RTT].recv.aead is keys.context.aead


def receive_with(connection: QuicConnection, keys: ReceiveKeys, data: bytes, address: Address, now: float) -> None:
    """Let aioquic receive a datagram under keys of an earlier phase."""
    pair = connection._cryptos[Epoch.ONE_RTT]
    present, pair.recv = pair.recv, keys.context
    try:
        connection.receive_datagram(data, address, now)
    finally:
        pair.recv = present


def receive_masks(connection: QuicConnection, samples: Sequence[bytes]) -> bytes:
    """Return the header protection masks of received packets, 16 bytes each (RFC 9001 section 5.4)."""
    return _masks(connection._cryptos[Epoch.ONE_RTT].recv, samples)


def _masks(context: CryptoContext, samples: Sequence[bytes]) -> bytes:
    protection = context.hp
    assert protection is not None
    encryptor = protection._encryptor
    if not protection._is_chacha20:
        return encryptor.update(b"".join(samples))
    masks = []
    for sample in samples:
        encryptor.reset_nonce(sample)
        masks.append(encryptor.update(_ZEROS))
    return b"".join(masks)


_ZEROS = bytes(16)


@dataclass(frozen=True, slots=True)
class RawKeys:
    """Packet protection keys as bytes (RFC 9001 section 5.1)."""

    suite: CipherSuite
    key: bytes
    iv: bytes
    header: bytes


def raw_keys(context: CryptoContext) -> RawKeys | None:
    """Return the keys of this context, None when they are not known: after a key update, header protection stays.

    That is how the first keys of a connection are told from later ones.
    """
    suite, secret, version = context.cipher_suite, context.secret, context.version
    assert suite is not None
    assert secret is not None
    assert version is not None
    anew = CryptoContext()
    anew.setup(cipher_suite=suite, secret=secret, version=version)
    if _masks(anew, [_ZEROS]) != _masks(context, [_ZEROS]):
        return None
    return RawKeys(suite, *derive_key_iv_hp(cipher_suite=suite, secret=secret, version=version))


def next_raw_keys(context: CryptoContext, first: RawKeys) -> RawKeys:
    """Return the keys of a later key phase of the connection whose first keys were ``first``."""
    assert context.secret is not None
    assert context.version is not None
    key, iv, _header = derive_key_iv_hp(cipher_suite=first.suite, secret=context.secret, version=context.version)
    return RawKeys(first.suite, key, iv, first.header)


# --- sending --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendState:
    """What sealing a batch needs."""

    encrypt: Callable[[bytes, bytes, bytes], bytes]
    iv: int
    phase: int
    spin: bool
    cid: bytes
    packet_number: int
    masks: Callable[[Sequence[bytes]], bytes]
    context: CryptoContext


def next_packet_number(connection: QuicConnection) -> int:
    """Return the number of the next packet."""
    return connection._packet_number


def may_seal(connection: QuicConnection) -> bool:
    """Tell whether packets may be sealed outside: the handshake is confirmed, the path validated, nothing closed."""
    return (
        connection._handshake_confirmed
        and not connection._close_pending
        and connection._state not in END_STATES
        and connection._network_paths[0].is_validated
    )


def send_context(connection: QuicConnection) -> CryptoContext:
    """Return what protects 1-RTT packets that are sent."""
    return connection._cryptos[Epoch.ONE_RTT].send


def send_state(connection: QuicConnection) -> SendState:
    """Return keys, ids and number for the next packets; valid until aioquic sends or receives something."""
    context = send_context(connection)
    return state_of(context, connection._peer_cid.cid, connection._packet_number, spin=connection._spin_bit)


def state_of(context: CryptoContext, cid: bytes, number: int, *, spin: bool = False) -> SendState:
    """Return what sealing needs, out of its parts."""
    assert context.aead is not None
    return SendState(
        encrypt=context.aead._aead.encrypt,
        iv=context.aead._iv,
        phase=context.key_phase,
        spin=spin,
        cid=cid,
        packet_number=number,
        masks=lambda samples: _masks(context, samples),
        context=context,
    )


def peer_cid_length(connection: QuicConnection) -> int:
    """Return the length of the connection id that packets to the peer carry (bytes)."""
    return len(connection._peer_cid.cid)


def note_sealed(
    connection: QuicConnection, recovery: TunnelRecovery, sizes: Sequence[int], now: float, *, probe: int = 0
) -> None:
    """Do what follows from having sent ack-eliciting packets of these sizes (bytes) from the next number on."""
    first = connection._packet_number
    connection._packet_number = first + len(sizes)
    connection._network_paths[0].bytes_sent += sum(sizes)
    recovery.sealed(first, sizes, now, connection._spaces[Epoch.ONE_RTT], probe=probe)
    if not connection._ack_eliciting_sent_since_receipt:
        connection._close_at = now + connection._idle_timeout()
        connection._ack_eliciting_sent_since_receipt = True


# --- receiving ------------------------------------------------------------------------------------------------------


def may_open(connection: QuicConnection) -> bool:
    """Tell whether packets may be opened outside: the handshake is confirmed and the connection is open."""
    return connection._handshake_confirmed and not connection._close_pending and connection._state not in END_STATES


def active_address(connection: QuicConnection) -> Address:
    """Return the peer's address on the active path."""
    address: Address = connection._network_paths[0].addr
    return address


def own_cids(connection: QuicConnection) -> tuple[bytes, ...]:
    """Return the connection ids that a packet may carry without aioquic having to notice.

    A server must notice when its client changes the id (RFC 9000 section 9.5).
    """
    if connection.configuration.is_client:
        return tuple([item.cid for item in connection._host_cids])
    return (connection.host_cid,)


def packet_space(connection: QuicConnection) -> QuicPacketSpace:
    """Return the packet number space of 1-RTT packets."""
    return connection._spaces[Epoch.ONE_RTT]


def use_window(connection: QuicConnection, window: ReceiveWindow) -> bool:
    """Let duplicates be found by ``window``; False as long as there are no packet number spaces."""
    if Epoch.ONE_RTT not in connection._spaces:
        return False
    space = connection._spaces[Epoch.ONE_RTT]
    for received in space.ack_queue:
        window.add_range(received.start, received.stop)
    space.received_packets = window  # type: ignore[assignment]  # a drop-in
    return True


def note_opened(connection: QuicConnection, largest: int, *, spin: bool, now: float) -> None:
    """Do what follows from having received ack-eliciting packets, ``largest`` the largest number of them."""
    space = connection._spaces[Epoch.ONE_RTT]
    ranges = len(space.ack_queue)
    while ranges > ACK_RANGES:
        space.ack_queue.shift()
        ranges -= 1
    space.expected_packet_number = max(space.expected_packet_number, largest + 1)
    if largest > space.largest_received_packet:
        space.largest_received_packet = largest
        space.largest_received_time = now
    if ranges > ACK_RANGES // 2:
        # A range is dropped when there are too many: it had better be told before.
        space.ack_at = now
    elif space.ack_at is None:
        space.ack_at = now + connection._ack_delay
    if largest > connection._spin_highest_pn:
        connection._spin_bit = spin != connection.configuration.is_client
        connection._spin_highest_pn = largest
    connection._close_at = now + connection._idle_timeout()
    connection._ack_eliciting_sent_since_receipt = False
