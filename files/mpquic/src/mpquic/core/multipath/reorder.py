# SPDX-License-Identifier: GPL-3.0-or-later
"""A short wait for what another path still carries, so that a flow is not reordered by a change of its path.

Only what its sender flagged as ordered is ever the first to wait: payloads of classes that are spread packet by packet,
and those of a flow for a moment after it was moved on purpose. It waits for the numbers of its bucket between the
largest received before, the floor, and its own; what was missing below the floor is lost or late anyway.

While something waits in a bucket, later numbers of it wait behind it, flagged or not, since they may be of the same
flow; earlier ones pass at once unless they are flagged, for they are what is waited for. Other buckets are not
concerned. The wait ends when the gap is filled, when the time is over, or for want of room; then the gap is given up,
and what still comes out of it passes at once. Nothing is lost here and nothing comes twice.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from mpquic.core.multipath.dedup import SIZE
from mpquic.core.multipath.sequence import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Payloads that may wait in all buckets, and bytes of them.
CAPACITY = 1024
CAPACITY_OCTETS = 2_000_000

_MASK = NUMBERS - 1
_HALF = NUMBERS // 2


class _Queue:
    """What waits in one bucket. Positions are sequence numbers that do not wrap."""

    __slots__ = ("floor", "held", "order", "passed")

    def __init__(self, floor: int) -> None:
        #: The least number that is waited for.
        self.floor = floor
        #: By position, in order of arrival: until when it waits, the payload, and its class.
        self.held: OrderedDict[int, tuple[float, bytes, int]] = OrderedDict()
        #: The positions in ``held``, and those beyond the floor that were passed on at once; both are heaps.
        self.order: list[int] = []
        self.passed: list[int] = []


class Reorder:
    """Holds payloads back, of all buckets, and lets them go into ``ready``."""

    __slots__ = ("_hold", "_octets", "_queues", "expired", "ready", "waiting")

    def __init__(self, hold: Callable[[int, float], float]) -> None:
        """Wait ``hold(class index, now)`` seconds, which may be 0, each time something has to wait."""
        self._hold = hold
        self._queues: dict[int, _Queue] = {}
        #: What may be handed on, by class, in order.
        self.ready: dict[int, list[bytes]] = {}
        #: Payloads that wait, and numbers that are remembered as passed meanwhile.
        self.waiting = 0
        self._octets = 0
        #: Gaps that were given up.
        self.expired = 0

    def __contains__(self, bucket: int) -> bool:
        """Tell whether anything waits in ``bucket``: then all that comes for it must be pushed."""
        return bucket in self._queues

    def take(self) -> dict[int, list[bytes]]:
        """Return ``ready`` and begin anew."""
        ready, self.ready = self.ready, {}
        return ready

    def put(self, class_index: int, payloads: list[bytes]) -> None:
        """Hand payloads on without a wait."""
        ready = self.ready.get(class_index)
        if ready is None:
            self.ready[class_index] = payloads
        else:
            ready += payloads

    def push(  # noqa: PLR0913 - what there is to know about payloads
        self,
        bucket: int,
        floor: int,
        first: int,
        payloads: list[bytes],
        class_index: int,
        now: float,
        *,
        ordered: bool,
    ) -> None:
        """Take payloads of a bucket with new, consecutive numbers from ``first`` on (modulo 2^32).

        ``floor`` is one more than the largest number received before.
        """
        queue = self._queues.get(bucket)
        if queue is None:
            gap = (first - floor) & _MASK
            # A gap that is too wide for the window will not be filled.
            if not ordered or gap == 0 or gap >= SIZE or self._hold(class_index, now) <= 0:
                self.put(class_index, payloads)
                return
            queue = self._queues[bucket] = _Queue(floor)
        until = now + self._hold(class_index, now)
        for number, payload in enumerate(payloads, first):
            self._take(queue, number, (until, payload, class_index), ordered=ordered)
        if not queue.order:
            self._close(bucket)

    def fire(self, now: float) -> None:
        """Give up the gaps that were waited for long enough."""
        for bucket, queue in list(self._queues.items()):
            while queue.order:
                position = next(iter(queue.held))
                if queue.held[position][0] > now:
                    break
                self._advance(queue, position)
            if not queue.order:
                self._close(bucket)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        if not self._queues:
            return math.inf
        return min([next(iter(queue.held.values()))[0] for queue in self._queues.values()])

    def release(self) -> None:
        """Let everything go, in order."""
        self.fire(math.inf)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _take(self, queue: _Queue, number: int, item: tuple[float, bytes, int], *, ordered: bool) -> None:
        ahead = (number - queue.floor) & _MASK
        if ahead >= _HALF:
            # Nobody waits for it any more.
            self.put(item[2], [item[1]])
            return
        position = queue.floor + ahead
        self.waiting += 1
        if not ordered and queue.order and position < queue.order[0]:
            self.put(item[2], [item[1]])
            heappush(queue.passed, position)
        else:
            heappush(queue.order, position)
            queue.held[position] = item
            self._octets += len(item[1])
        self._advance(queue, queue.floor)
        while queue.order and (
            position - queue.floor >= SIZE or self.waiting > CAPACITY or self._octets > CAPACITY_OCTETS
        ):
            self._advance(queue, queue.order[0])

    def _advance(self, queue: _Queue, position: int) -> None:
        """Let go what is held up to ``position``, and what follows without a gap."""
        order, passed = queue.order, queue.passed
        if position > queue.floor:
            self.expired += 1
        while True:
            if order and order[0] <= max(position, queue.floor):
                queue.floor = heappop(order) + 1
                _until, payload, class_index = queue.held.pop(queue.floor - 1)
                self._octets -= len(payload)
                self.put(class_index, [payload])
            elif passed and passed[0] <= queue.floor:
                queue.floor = max(queue.floor, heappop(passed) + 1)
            else:
                return
            self.waiting -= 1

    def _close(self, bucket: int) -> None:
        """Forget a bucket in which nothing is held."""
        self.waiting -= len(self._queues.pop(bucket).passed)
