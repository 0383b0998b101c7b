# SPDX-License-Identifier: GPL-3.0-or-later
"""The data path of one tunnel: inner packets on one side, a connection on the other, counters on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import inner, wire
from mpquic.core.queue import PacketQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.types import Counters, Datagram

#: Packets that may wait for an acknowledgement. More means that the path is dead and nobody has noticed yet; the limit
#: bounds the memory this takes.
MAX_OUTSTANDING = 32768


class Lane:
    """Checks, queues, wraps and counts packets."""

    def __init__(self, counters: Counters) -> None:
        """Count in ``counters``, which outlives connections."""
        self._counters = counters
        self._queue = PacketQueue(counters.drops)

    def offer(self, packets: Sequence[bytes], connection: Connection | None, now: float) -> None:
        """Take packets from the TUN. Without a connection they are dropped: they would be stale when one is there."""
        drops = self._counters.drops
        if connection is None:
            drops["no_connection"] += len(packets)
            return
        payloads = wire.wrap(inner.valid(packets, drops))
        limit = connection.max_payload
        fitting = [payload for payload in payloads if len(payload) <= limit]
        if len(fitting) < len(payloads):
            drops["too_big"] += len(payloads) - len(fitting)
        self._queue.push(fitting, now)

    def flush(self, connection: Connection, now: float) -> list[Datagram]:
        """Return the datagrams that can leave now; what must wait stays in the queue."""
        counters = self._counters
        waiting = self._queue.take(MAX_OUTSTANDING - connection.clock.outstanding, now) if len(self._queue) else []
        datagrams, taken = connection.seal([payload for _since, payload in waiting], now)
        if taken < len(waiting):
            self._queue.put_back(waiting[taken:])
            del waiting[taken:]
        counters.tx_packets += taken
        counters.tx_bytes += sum([len(payload) for _since, payload in waiting]) - wire.OVERHEAD * taken
        return datagrams

    def accept(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Return the packets for the TUN out of a peer's DATAGRAM payloads."""
        counters = self._counters
        packets = inner.valid(wire.unwrap(payloads, counters.drops), counters.drops)
        counters.rx_packets += len(packets)
        counters.rx_bytes += sum([len(packet) for packet in packets])
        return packets

    def reset(self) -> None:
        """Forget waiting packets, when their connection is gone."""
        self._counters.drops["no_connection"] += self._queue.clear()
