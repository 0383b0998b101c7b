# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place where inner packets may wait: by class, bounded in packets, bytes and age.

Critical packets go first, as long as they leave a quarter to the others when those wait: whoever marks everything as
critical still shares. Default and bulk share what is left 4:1 by bytes, by surplus round robin: a deficit round robin
(Shreedhar and Varghese, 1995) in which the last packet of a turn may overdraw.

Within a class the order is kept, and room is made at the head: what has waited longest is worth least, and its sender
hears of the loss soonest.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.aging import INTERVAL, TARGET, CoDel, Cut
from mpquic.core.classes import BULK, CRITICAL, DEFAULT, classify

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from mpquic.core.aging import Aging

#: Packets and bytes that may wait in one class: 40 ms of a gigabit, and some dozens of 64 kB reads of the TUN.
CAPACITY = 4096
CAPACITY_OCTETS = 5_000_000
#: Seconds that any packet may wait.
MAX_AGE = 0.04
#: Full packets for which there is time to wait, however slow the link (RFC 6928: an initial window has ten).
MIN_WAITING = 10
#: Bytes of critical packets for one byte of the others, while others wait.
CRITICAL_SHARE = 3
#: Bytes per turn of default and bulk; the smallest is a full packet.
QUANTUM = {DEFAULT: 6000, BULK: 1500}


class _Fifo:
    """What waits in one class."""

    __slots__ = ("_drops", "aging", "credit", "items", "octets", "quantum")

    def __init__(self, drops: Counter[str], aging: Aging, quantum: int) -> None:
        self._drops = drops
        self.aging = aging
        self.quantum = quantum
        self.credit = 0
        self.items: deque[tuple[float, bytes]] = deque()
        self.octets = 0

    def push(self, payload: bytes, now: float, capacity: int, octets: int) -> None:
        items = self.items
        items.append((now, payload))
        self.octets += len(payload)
        while len(items) > capacity or self.octets > octets:
            self.octets -= len(items.popleft()[1])
            self._drops["queue_full"] += 1

    def pop(self, now: float, max_age: float) -> tuple[float, bytes] | None:
        """Return the first packet that is not to be dropped."""
        items, drops = self.items, self._drops
        while items:
            item = items.popleft()
            age = now - item[0]
            self.octets -= len(item[1])
            if age > max_age:
                drops["queue_age"] += 1
            elif self.aging.drops(age, self.octets, now):
                drops["queue_delay"] += 1
            else:
                return item
        return None

    def put_back(self, item: tuple[float, bytes]) -> None:
        self.items.appendleft(item)
        self.octets += len(item[1])

    def clear(self) -> None:
        self.items.clear()
        self.octets = 0


class PacketQueue:
    """Payloads in front of a connection.

    What it drops is counted in ``drops``: ``queue_full`` for want of room, ``queue_age`` what waited too long,
    ``queue_delay`` what was dropped so that the others need not wait so long.
    """

    def __init__(
        self,
        drops: Counter[str],
        *,
        capacity: int = CAPACITY,
        octets: int = CAPACITY_OCTETS,
        front: int = wire.OVERHEAD,
    ) -> None:
        """Bound every class to so many packets and bytes. ``front`` is the bytes of a payload before the IP packet."""
        self._front = front
        self._max_age = MAX_AGE
        self._bounds = capacity, octets
        self._critical = _Fifo(drops, Cut(), 0)
        self._others = [_Fifo(drops, CoDel(), QUANTUM[index]) for index in (DEFAULT, BULK)]
        self._classes = {CRITICAL: self._critical, DEFAULT: self._others[0], BULK: self._others[1]}
        #: The one that had the last turn.
        self._turn = len(self._others) - 1
        #: Bytes that critical packets are ahead of their share.
        self._ahead = 0

    def __bool__(self) -> bool:
        """Tell whether anything waits."""
        return bool(self._critical.items) or self._others_wait()

    def __len__(self) -> int:
        """Return the number of waiting payloads."""
        return sum([len(fifo.items) for fifo in self._classes.values()])

    @property
    def octets(self) -> int:
        """Return the bytes of waiting payloads."""
        return sum([fifo.octets for fifo in self._classes.values()])

    def oldest(self, now: float) -> float:
        """Return for how long the first of the waiting payloads has waited (seconds), 0 when none does."""
        return max([now - fifo.items[0][0] for fifo in self._classes.values() if fifo.items], default=0.0)

    def pace(self, packet_time: float) -> None:
        """Adapt to a link on which a full packet takes ``packet_time`` seconds."""
        self._max_age = max(MAX_AGE, MIN_WAITING * packet_time)
        target = max(TARGET, 1.5 * packet_time)
        for fifo in self._classes.values():
            fifo.aging.target = target
            fifo.aging.interval = INTERVAL + target - TARGET

    def push(self, payloads: Iterable[bytes], now: float) -> None:
        """Append payloads to their classes; the oldest make room."""
        capacity, octets = self._bounds
        classes, front = self._classes, self._front
        for payload in payloads:
            classes[classify(payload, front)].push(payload, now, capacity, octets)

    def take(self, limit: int, octets: float, overhead: int, now: float) -> list[tuple[float, bytes]]:
        """Remove and return up to ``limit`` payloads, each with its time of arrival.

        As many are taken as begin within ``octets`` bytes, each counted with ``overhead``.
        """
        taken: list[tuple[float, bytes]] = []
        while octets > 0 and len(taken) < limit:
            fifo = self._next()
            if fifo is None:
                break
            item = fifo.pop(now, self._max_age)
            if item is None:
                continue
            size = len(item[1]) + overhead
            octets -= size
            taken.append(item)
            if fifo is not self._critical:
                fifo.credit -= size
                self._ahead = max(0, self._ahead - CRITICAL_SHARE * size)
            elif self._others_wait():
                self._ahead += size
        return taken

    def put_back(self, items: Sequence[tuple[float, bytes]]) -> None:
        """Return to the heads what was taken last and could not leave."""
        for item in reversed(items):
            self._classes[classify(item[1], self._front)].put_back(item)

    def clear(self) -> int:
        """Drop everything and return how much that was."""
        count = len(self)
        for fifo in self._classes.values():
            fifo.clear()
        return count

    def _next(self) -> _Fifo | None:
        """Return the class whose turn it is, None when nothing waits."""
        waiting = self._others_wait()
        if self._critical.items and (self._ahead < CRITICAL_SHARE * QUANTUM[BULK] or not waiting):
            return self._critical
        if not waiting:
            return None
        while True:
            fifo = self._others[self._turn]
            if fifo.items and fifo.credit > 0:
                return fifo
            if not fifo.items:
                # Credit is for those who wait.
                fifo.credit = min(fifo.credit, 0)
            self._turn = (self._turn + 1) % len(self._others)
            following = self._others[self._turn]
            following.credit += following.quantum if following.items else 0

    def _others_wait(self) -> bool:
        default, bulk = self._others
        return bool(default.items or bulk.items)
