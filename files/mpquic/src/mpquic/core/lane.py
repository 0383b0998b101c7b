# SPDX-License-Identifier: GPL-3.0-or-later
"""The data path of one tunnel: a TUN device on one side, a connection on the other, counters on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.offload import BareCodec
from mpquic.core.queue import PacketQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.offload import Codec
    from mpquic.core.types import Counters, Datagram, Frame

#: Packets that may wait for an acknowledgement. More means that the path is dead and nobody has noticed yet; the limit
#: bounds the memory this takes.
MAX_OUTSTANDING = 32768


class Lane:
    """Checks, queues, wraps and counts packets."""

    def __init__(self, counters: Counters) -> None:
        """Count in ``counters``, which outlives connections."""
        self._counters = counters
        self._queue = PacketQueue(counters.drops)
        #: How the TUN device speaks that is open now.
        self.codec: Codec = BareCodec()

    def offer(self, reads: Sequence[bytes], connection: Connection | None, now: float) -> None:
        """Take reads of the TUN. Without a connection they are dropped: they would be stale when one is there."""
        drops = self._counters.drops
        if connection is None:
            drops["no_connection"] += len(reads)
            return
        payloads = self.codec.ingress(reads, drops)
        limit = connection.max_payload
        if payloads and max(map(len, payloads)) > limit:
            fitting = [payload for payload in payloads if len(payload) <= limit]
            drops["too_big"] += len(payloads) - len(fitting)
            payloads = fitting
        self._queue.push(payloads, now)

    def flush(self, connection: Connection, now: float) -> list[Datagram]:
        """Return the datagrams that can leave now; what must wait stays in the queue."""
        counters = self._counters
        waiting = self._queue.take(MAX_OUTSTANDING - connection.clock.outstanding, now) if len(self._queue) else []
        payloads = [payload for _since, payload in waiting]
        datagrams, taken = connection.seal(payloads, now)
        if taken < len(waiting):
            self._queue.put_back(waiting[taken:])
            del payloads[taken:]
        if taken:
            counters.tx_packets += taken
            counters.tx_bytes += sum(map(len, payloads)) - wire.OVERHEAD * taken
        return datagrams

    def accept(self, payloads: Sequence[bytes]) -> list[Frame]:
        """Return what to write to the TUN out of a peer's DATAGRAM payloads."""
        counters = self._counters
        frames, packets, octets = self.codec.egress(payloads, counters.drops)
        counters.rx_packets += packets
        counters.rx_bytes += octets
        return frames

    def reset(self) -> None:
        """Forget waiting packets, when their connection is gone."""
        self._counters.drops["no_connection"] += self._queue.clear()
