# SPDX-License-Identifier: GPL-3.0-or-later
"""aioquic's loss recovery, with a ledger for the packets that were sealed outside of it.

Everything RFC 9002 derives from sent packets stays exact: round trip samples, loss by packet and time threshold, the
probe timer and its reset, the number of packets in flight. Only the record per packet is replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import K_PACKET_THRESHOLD, K_TIME_THRESHOLD, QuicPacketRecovery
from aioquic.tls import Epoch

from mpquic.quic.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aioquic.quic.rangeset import RangeSet
    from aioquic.quic.recovery import QuicPacketSpace

    from mpquic.core.ackclock import AckClock


class TunnelRecovery(QuicPacketRecovery):
    """Drop-in for QuicPacketRecovery under the ``tunnel`` congestion controller, which does not count bytes."""

    ledger: Ledger
    clock: AckClock
    #: Sizes (bytes) of path MTU probes that were acknowledged since somebody looked.
    probes_acked: list[int]

    def attach(self, clock: AckClock) -> None:
        """Feed the clock that the congestion controller feeds as well."""
        self.ledger = Ledger()
        self.clock = clock
        self.probes_acked = []

    def sealed(self, first: int, sizes: Sequence[int], now: float, space: QuicPacketSpace, *, probe: int = 0) -> None:
        """Note ack-eliciting packets from number ``first`` on, of these sizes (bytes of UDP payload)."""
        # One of them as aioquic knows it arms the probe timer and is counted by the congestion controller.
        self.on_packet_sent(packet=_record(first, now), space=space)
        del space.sent_packets[first]
        if len(sizes) > 1:
            space.ack_eliciting_in_flight += len(sizes) - 1
            self.clock.sent(now, len(sizes) - 1)
        self.ledger.sent(first, sizes, now, probe=probe)

    def on_ack_received(  # noqa: D102 - aioquic's interface
        self, *, ack_rangeset: RangeSet, ack_delay: float, now: float, space: QuicPacketSpace
    ) -> None:
        if space.is_application_data and self.ledger:
            acked = self.ledger.acked(ack_rangeset)
            if acked is not None:
                # aioquic takes the round trip sample and resets the probe timer by the largest; the others are counted.
                _insert(space, _record(acked.largest, acked.sent_at))
                if acked.count > 1:
                    space.ack_eliciting_in_flight -= acked.count - 1
                    self.clock.acked(now, acked.count - 1)
                if acked.large:
                    self.clock.large_lost = 0
                self.probes_acked += acked.probes
        super().on_ack_received(ack_rangeset=ack_rangeset, ack_delay=ack_delay, now=now, space=space)
        if space.is_application_data:
            late = self.ledger.late(ack_rangeset)
            if late:
                self.clock.found(late)
            self.probes_acked += self.ledger.late_probes(ack_rangeset)
            self._detect_sealed(now, space)

    def on_loss_detection_timeout(self, *, now: float) -> None:  # noqa: D102
        super().on_loss_detection_timeout(now=now)
        for space in self.spaces:
            if space.is_application_data:
                self._detect_sealed(now, space)

    def _detect_sealed(self, now: float, space: QuicPacketSpace) -> None:
        clock = self.clock
        if not self.ledger or clock.srtt is None:
            return
        delay = K_TIME_THRESHOLD * max(clock.srtt, clock.latest)
        lost = self.ledger.lost(space.largest_acked_packet, K_PACKET_THRESHOLD, now - delay)
        if lost.data or lost.probes:
            space.ack_eliciting_in_flight -= lost.data + lost.probes
            clock.lost(lost.data)
            # The loss of a probe is no loss of data (RFC 8899 section 3).
            clock.expired(lost.probes)
            clock.large_lost += lost.large
        if lost.next_sent_at is not None:
            due = lost.next_sent_at + delay
            if space.loss_time is None or due < space.loss_time:
                space.loss_time = due


def _record(packet_number: int, sent_at: float) -> QuicSentPacket:
    return QuicSentPacket(
        epoch=Epoch.ONE_RTT,
        in_flight=True,
        is_ack_eliciting=True,
        is_crypto_packet=False,
        packet_number=packet_number,
        packet_type=QuicPacketType.ONE_RTT,
        sent_time=sent_at,
    )


def _insert(space: QuicPacketSpace, record: QuicSentPacket) -> None:
    """Put a record where its number belongs: aioquic relies on the order of this dictionary."""
    packets = space.sent_packets
    later = [number for number in packets if number > record.packet_number]
    packets[record.packet_number] = record
    for number in later:
        packets[number] = packets.pop(number)
