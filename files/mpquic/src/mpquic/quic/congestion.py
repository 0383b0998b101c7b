# SPDX-License-Identifier: GPL-3.0-or-later
"""Congestion controllers that also feed an AckClock, registered with aioquic by its public registry.

``tunnel`` never holds anything back: the inner flows have congestion control of their own, and RFC 9484 section 10
allows to do without a second one for datagrams that carry IP packets. Loss-based control below a tunnel turned 0.1 %
loss into seconds of delay. ``cubic`` and ``reno`` are aioquic's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aioquic.quic.congestion.base import QuicCongestionControl, register_congestion_control
from aioquic.quic.congestion.cubic import CubicCongestionControl
from aioquic.quic.congestion.reno import RenoCongestionControl

from mpquic.core.ackclock import AckClock
from mpquic.quic.ledger import LARGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aioquic.quic.packet_builder import QuicSentPacket

#: Bytes. More than a path can have in flight.
_ENDLESS = 1 << 40
_PREFIX = "mpquic-"


def _ack_eliciting(packets: Iterable[QuicSentPacket]) -> int:
    return sum([packet.is_ack_eliciting for packet in packets])


class TunnelControl(QuicCongestionControl):
    """No reaction to loss; nothing counts as in flight."""

    def __init__(self, *, max_datagram_size: int) -> None:
        """Open the window for good."""
        super().__init__(max_datagram_size=max_datagram_size)
        self.congestion_window = _ENDLESS
        self.clock = AckClock()

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:  # noqa: D102 - aioquic's interface
        if packet.is_ack_eliciting:
            self.clock.sent(packet.sent_time or 0.0)

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:  # noqa: D102
        if packet.is_ack_eliciting:
            self.clock.acked(now)
            if packet.sent_bytes > LARGE:
                self.clock.large_lost = 0

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:  # noqa: D102
        del now
        lost = [packet for packet in packets if packet.is_ack_eliciting]
        self.clock.lost(len(lost))
        self.clock.large_lost += sum([packet.sent_bytes > LARGE for packet in lost])

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:  # noqa: D102
        self.clock.expired(_ack_eliciting(packets))

    def on_persistent_congestion(self) -> None:  # noqa: D102
        pass

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:  # noqa: D102
        del now
        self.clock.rtt(rtt)


class ObservedControl:
    """A controller of aioquic's with an AckClock beside it."""

    def __init__(self, inner: QuicCongestionControl, max_datagram_size: int) -> None:
        """Pass every call to ``inner``."""
        self._inner = inner
        self._observer = TunnelControl(max_datagram_size=max_datagram_size)
        self.clock = self._observer.clock
        self.get_log_data = inner.get_log_data

    @property
    def bytes_in_flight(self) -> int:  # noqa: D102
        return self._inner.bytes_in_flight

    @property
    def congestion_window(self) -> int:  # noqa: D102
        return self._inner.congestion_window

    @property
    def ssthresh(self) -> int | None:  # noqa: D102
        return self._inner.ssthresh

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:  # noqa: D102
        self._observer.on_packet_sent(packet=packet)
        self._inner.on_packet_sent(packet=packet)

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:  # noqa: D102
        self._observer.on_packet_acked(now=now, packet=packet)
        self._inner.on_packet_acked(now=now, packet=packet)

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:  # noqa: D102
        lost = list(packets)
        self._observer.on_packets_lost(now=now, packets=lost)
        self._inner.on_packets_lost(now=now, packets=lost)

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:  # noqa: D102
        expired = list(packets)
        self._observer.on_packets_expired(packets=expired)
        self._inner.on_packets_expired(packets=expired)

    def on_persistent_congestion(self) -> None:  # noqa: D102
        self._inner.on_persistent_congestion()

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:  # noqa: D102
        self._observer.on_rtt_measurement(now=now, rtt=rtt)
        self._inner.on_rtt_measurement(now=now, rtt=rtt)


def _observed(
    base: type[CubicCongestionControl | RenoCongestionControl], max_datagram_size: int
) -> QuicCongestionControl:
    # aioquic only uses the names that ObservedControl has; inheriting would shadow its attributes.
    control = ObservedControl(base(max_datagram_size=max_datagram_size), max_datagram_size)
    return cast("QuicCongestionControl", control)


def _cubic(*, max_datagram_size: int) -> QuicCongestionControl:
    return _observed(CubicCongestionControl, max_datagram_size)


def _reno(*, max_datagram_size: int) -> QuicCongestionControl:
    return _observed(RenoCongestionControl, max_datagram_size)


def register() -> None:
    """Make the controllers known to aioquic under names of our own; harmless when repeated."""
    register_congestion_control(_PREFIX + "tunnel", TunnelControl)
    register_congestion_control(_PREFIX + "cubic", _cubic)
    register_congestion_control(_PREFIX + "reno", _reno)


def registered_name(algorithm: str) -> str:
    """Return aioquic's name for ``tunnel``, ``cubic`` or ``reno``."""
    return _PREFIX + algorithm
