# SPDX-License-Identifier: GPL-3.0-or-later
"""The data path of one tunnel: a TUN device on one side, a connection on the other, counters on the way.

Packets that can leave at once are handed on as they came, in one list. Only what must wait, for a rate, for a window
or because something else waits already, is looked at one by one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.breaker import WINDOW, Breaker
from mpquic.core.gate import OPEN
from mpquic.core.offload import BareCodec
from mpquic.core.queue import CAPACITY_OCTETS, PacketQueue
from mpquic.core.shaper import Shaper
from mpquic.core.types import Change

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.marking import Marking
    from mpquic.core.offload import Codec
    from mpquic.core.types import Counters, Datagram, Frame

#: Packets that may wait for an acknowledgement. More means that the path is dead and nobody has noticed yet; the limit
#: bounds the memory this takes.
MAX_OUTSTANDING = 32768
#: Share of a link's rate that is used. Our queue can only stand in for the link's own if that one stays empty, and
#: others use the link as well: ARP, DHCP, the host itself.
RATE_SHARE = 0.98
#: Bytes of a full packet.
_FULL = 1500
#: Bytes around a UDP payload: Ethernet 14, which tc counts as well, UDP 8, and IPv4 or IPv6.
_FRAME_V4 = 14 + 8 + 20
_FRAME_V6 = 14 + 8 + 40
#: Payloads sealed at once out of the queue: a congestion window may take none of them, and they are put back.
_BATCH = 32


class Lane:
    """Checks, queues, wraps and counts packets."""

    def __init__(
        self,
        counters: Counters,
        rate: int | None = None,
        *,
        front: int = wire.OVERHEAD,
        capacity: int = CAPACITY_OCTETS,
    ) -> None:
        """Count in ``counters``, which outlives connections. ``rate`` is the link's (bits per second), if known.

        ``front`` is the bytes of a payload before the IP packet, ``capacity`` what may wait of each class (bytes).
        """
        self.front = front
        self.counters = counters
        self._queue = PacketQueue(counters.drops, octets=capacity, front=front)
        self._fresh: list[bytes] = []
        #: What is to leave before packets, see say().
        self._word: bytes | None = None
        self._rate = math.inf if rate is None else rate * RATE_SHARE
        self._breaker = Breaker()
        self._shaper = self._new_shaper()
        self._changes: list[Change] = []
        self._due = math.inf
        #: Told of payloads that do not fit, of what would (bytes), and of the time.
        self.on_too_big: Callable[[list[bytes], int, float], None] = lambda _payloads, _limit, _now: None
        #: How the TUN device speaks that is open now.
        self.codec: Codec = BareCodec()
        #: What a peer may send into this tunnel.
        self.gate = OPEN
        #: The path is known to be too narrow for IPv6.
        self.narrow = False
        #: How datagrams are marked, None for not at all.
        self.marking: Marking | None = None

    @property
    def drops(self) -> Counter[str]:
        """What is refused, by reason."""
        return self.counters.drops

    @property
    def limit(self) -> float | None:
        """Bits per second to which the circuit breaker holds this tunnel, None while it is closed."""
        return self._breaker.limit

    @property
    def waiting(self) -> int:
        """Packets that wait."""
        return len(self._queue)

    @property
    def waiting_octets(self) -> int:
        """Bytes of the packets that wait."""
        return self._queue.octets

    def waited(self, now: float) -> float:
        """Return for how long the oldest packet that waits has done so (seconds), 0 when none does."""
        return self._queue.oldest(now)

    def offer(self, reads: Sequence[bytes], connection: Connection | None, now: float) -> None:
        """Take reads of the TUN; flush() follows. Without a connection they are dropped: they would be stale later."""
        drops = self.counters.drops
        if connection is None:
            drops["no_connection"] += len(reads)
            return
        self.enqueue(self.codec.ingress(reads, drops), connection, now)

    def enqueue(self, payloads: list[bytes], connection: Connection | None, now: float) -> None:
        """Take payloads as offer() takes reads. The list is the lane's from now on."""
        if connection is None:
            self.counters.drops["no_connection"] += len(payloads)
            return
        limit = connection.max_payload
        payloads, refused = self._sift(payloads, limit)
        if refused:
            self.on_too_big(refused, limit, now)
        self._fresh = self._fresh + payloads if self._fresh else payloads

    def copies(self, payloads: list[bytes], connection: Connection | None) -> list[bytes]:
        """Return which of these the path takes as copies. Of the others nobody is told: another path has them, too."""
        return payloads if connection is None else self._sift(payloads, connection.max_payload)[0]

    def say(self, payload: bytes) -> None:
        """Let a payload that is no packet leave first with the next flush(); of several, the last."""
        self._word = payload

    def set_rate(self, rate: int | None) -> None:
        """Use another rate of the link (bits per second, None for none) from now on."""
        bits = math.inf if rate is None else rate * RATE_SHARE
        if bits != self._rate:
            self._rate = bits
            self._shaper = self._new_shaper()

    def flush(self, connection: Connection, now: float) -> list[Datagram]:
        """Return the datagrams that can leave now; what must wait stays in the queue."""
        if now >= self._breaker.next_check and not connection.congestion_controlled:
            self._check(connection, now)
        said = [] if self._word is None else self._say(connection, now)
        fresh, self._fresh = self._fresh, []
        room = MAX_OUTSTANDING - connection.clock.outstanding
        shaper = self._shaper
        if self._queue or len(fresh) > room or (shaper is not None and not _admits(shaper, fresh, connection, now)):
            self._queue.push(fresh, now)
            datagrams = self._seal_waiting(connection, room, now)
        else:
            datagrams, taken = self._seal(fresh, connection, now)
            if taken < len(fresh):
                self._queue.push(fresh[taken:], now)
        # When the rate is not what they wait for, an acknowledgement will call.
        due = shaper.due() if shaper is not None and self._queue else math.inf
        self._due = due if due > now else math.inf
        return said + datagrams if said else datagrams

    def deadline(self) -> float:
        """Return when flush() must be called next because packets wait for the rate."""
        return self._due

    def others(self, datagrams: list[Datagram]) -> list[Datagram]:
        """Return datagrams of this tunnel that were sealed elsewhere and carry no inner packet, as they are sent."""
        return datagrams if self.marking is None else self.marking.others(datagrams)

    def accept(self, payloads: Sequence[bytes]) -> list[Frame]:
        """Return what to write to the TUN out of a peer's DATAGRAM payloads."""
        counters = self.counters
        frames, packets, octets = self.codec.egress(payloads, counters.drops, self.gate)
        counters.rx_packets += packets
        counters.rx_bytes += octets
        return frames

    def move(self) -> None:
        """Go on with another connection: what waits stays."""
        self._breaker.restart()

    def reset(self) -> None:
        """Forget waiting packets, when their connection is gone."""
        self.counters.drops["no_connection"] += self._queue.clear() + len(self._fresh)
        self._fresh = []
        self._word = None
        self._due = math.inf
        self._breaker.restart()

    def changes(self) -> list[Change]:
        """Return what the circuit breaker did since the last call, for the log."""
        if not self._changes:
            return []
        changes, self._changes = self._changes, []
        return changes

    # --- inside -----------------------------------------------------------------------------------------------------

    def _sift(self, payloads: list[bytes], limit: int) -> tuple[list[bytes], list[bytes]]:
        """Return what the path takes, and what it refuses, which is counted."""
        drops, front = self.counters.drops, self.front
        refused: list[bytes] = []
        if self.narrow:
            # IPv6 of any size, so that its senders turn to IPv4 (RFC 8200 section 5).
            refused = [payload for payload in payloads if payload[front] >> 4 != 4]
            if refused:
                drops["ipv6_narrow"] += len(refused)
                payloads = [payload for payload in payloads if payload[front] >> 4 == 4]
        if payloads and max(map(len, payloads)) > limit:
            large = [payload for payload in payloads if len(payload) > limit]
            drops["too_big"] += len(large)
            refused += large
            payloads = [payload for payload in payloads if len(payload) <= limit]
        return payloads, refused

    def _seal(self, payloads: list[bytes], connection: Connection, now: float) -> tuple[list[Datagram], int]:
        """Seal what the connection takes of these, charge and count it."""
        if self.marking is None:
            datagrams, taken = connection.seal(payloads, now)
        else:
            datagrams, taken = self.marking.seal(payloads, connection, now)
        if self._shaper is not None:
            self._charge(datagrams, connection, now)
        if taken:
            left = payloads if taken == len(payloads) else payloads[:taken]
            counters = self.counters
            counters.tx_packets += taken
            counters.tx_bytes += sum(map(len, left)) - self.front * taken
        return datagrams, taken

    def _say(self, connection: Connection, now: float) -> list[Datagram]:
        """Seal what say() took. A window that is full may keep it until the next flush()."""
        assert self._word is not None
        datagrams, taken = connection.seal([self._word], now)
        if taken:
            self._word = None
        self._charge(datagrams, connection, now)
        return self.others(datagrams)

    def _charge(self, datagrams: list[Datagram], connection: Connection, now: float) -> None:
        if self._shaper is not None and datagrams:
            octets = sum([len(data) for data, _address in datagrams]) + _frame(connection) * len(datagrams)
            self._shaper.spend(octets, now)

    def _seal_waiting(self, connection: Connection, room: int, now: float) -> list[Datagram]:
        queue, limit, overhead = self._queue, connection.max_payload, _overhead(connection)
        # What else the connection has to say leaves first, and counts.
        datagrams, _none = self._seal([], connection, now)
        while True:
            allowance = self._shaper.allowance(now) if self._shaper is not None else math.inf
            waiting = queue.take(min(_BATCH, room), allowance, overhead, now)
            if not waiting:
                return datagrams
            payloads = [payload for _since, payload in waiting]
            large = [payload for payload in payloads if len(payload) > limit]
            if large:
                # The path has shrunk since. Which of a packet's copies counts is not to be told any more.
                self.counters.drops["too_big"] += len(large)
                self.on_too_big([payload for payload in large if not wire.is_copied(payload)], limit, now)
                waiting = [item for item in waiting if len(item[1]) <= limit]
                payloads = [payload for _since, payload in waiting]
            sealed, taken = self._seal(payloads, connection, now)
            datagrams += sealed
            room -= taken
            if taken < len(waiting):
                queue.put_back(waiting[taken:])
                return datagrams

    def _check(self, connection: Connection, now: float) -> None:
        """Let the circuit breaker look at the path."""
        clock, counters, breaker = connection.clock, self.counters, self._breaker
        was = breaker.limit
        octets = counters.tx_bytes + counters.tx_packets * _overhead(connection)
        if not breaker.check(now, clock.acked_total, clock.lost_total, octets):
            return
        self._shaper = self._new_shaper()
        if was is None and breaker.limit is not None:
            limit = f"{breaker.limit / 1e6:.2f} Mbit/s"
            why = f"{breaker.loss:.0%} of the packets lost in {WINDOW:.0f} s, sending at most {limit}"
            self._changes.append(Change("breaker open", why, failed=True))
        elif breaker.limit is None:
            self._changes.append(Change("breaker closed", "the loss is gone"))

    def _new_shaper(self) -> Shaper | None:
        rate = min(self._rate, self._breaker.limit or math.inf)
        self._queue.pace(8 * _FULL / rate)
        return None if math.isinf(rate) else Shaper(rate)


def _admits(shaper: Shaper, payloads: list[bytes], connection: Connection, now: float) -> bool:
    """Tell whether all of this may leave now."""
    if not payloads:
        return True
    return sum(map(len, payloads)) + _overhead(connection) * len(payloads) <= shaper.allowance(now)


def _frame(connection: Connection) -> int:
    """Return the bytes around a UDP payload to this peer."""
    peer = connection.peer
    return _FRAME_V6 if peer is not None and ":" in peer[0] else _FRAME_V4


def _overhead(connection: Connection) -> int:
    """Return the bytes around a DATAGRAM payload that is alone in its packet."""
    return connection.datagram_size - connection.max_payload + _frame(connection)
