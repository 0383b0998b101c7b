# SPDX-License-Identifier: GPL-3.0-or-later
"""A short wait for what another path still carries, so that a flow is not reordered by a change of its path.

Only what its sender flagged as ordered is ever the first to wait: payloads of classes that are spread packet by packet,
and those of a flow for a moment after it was moved on purpose. It waits for the numbers of its bucket between the
largest received before, the floor, and its own; what was missing below the floor is lost or late anyway.

While something waits in a bucket, later numbers of it wait behind it, flagged or not, since they may be of the same
flow; earlier ones pass at once unless they are flagged, for they are what is waited for. Other buckets are not
concerned. The wait ends when the gap is filled. It is given up when the time is over, for want of room, or when every
path has brought later numbers, so that what is missing is lost; what still comes out of it passes at once. Nothing is
lost here and nothing comes twice.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from mpquic.core.multipath.dedup import SIZE
from mpquic.core.multipath.sequence import NUMBERS

if TYPE_CHECKING:
    from mpquic.core.multipath.patience import Patience

#: Payloads that may wait in all buckets, and bytes of them.
CAPACITY = 1024
CAPACITY_OCTETS = 2_000_000
#: How many numbers later a path must be to have nothing more to bring (RFC 9002 section 6.1.1).
THRESHOLD = 3

_MASK = NUMBERS - 1
_HALF = NUMBERS // 2


class _Queue:
    """What waits in one bucket. Positions are sequence numbers that do not wrap."""

    __slots__ = ("floor", "held", "order", "passed", "tops")

    def __init__(self, floor: int) -> None:
        #: The least number that is waited for.
        self.floor = floor
        #: By position, in order of arrival: until when it waits, the payload, and its class.
        self.held: OrderedDict[int, tuple[float, bytes, int]] = OrderedDict()
        #: The positions in ``held``, and those beyond the floor that were passed on at once; both are heaps.
        self.order: list[int] = []
        self.passed: list[int] = []
        #: By path, the largest position that it brought.
        self.tops: dict[int, int] = {}


class Reorder:
    """Holds payloads back, of all buckets, and lets them go into ``ready``."""

    __slots__ = ("_due", "_octets", "_patience", "busy", "given_up", "held", "ready", "waiting")

    def __init__(self, patience: Patience) -> None:
        """Wait as long as ``patience`` says when something has to wait."""
        self._patience = patience
        #: By bucket, what waits. All that comes for such a bucket must be pushed.
        self.busy: dict[int, _Queue] = {}
        #: What may be handed on, by class, in order.
        self.ready: dict[int, list[bytes]] = {}
        #: Payloads that wait, and numbers that are remembered as passed meanwhile.
        self.waiting = 0
        #: Payloads so far that had to wait, and gaps that were given up.
        self.held = self.given_up = 0
        self._octets = 0
        #: Nothing has waited for too long before that time.
        self._due = math.inf

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
        *,
        now: float,
        ordered: bool,
        path: int,
    ) -> None:
        """Take payloads of a bucket with new, consecutive numbers from ``first`` on (modulo 2^32), brought by ``path``.

        ``floor`` is one more than the largest number received before.
        """
        paths, hold = self._patience.hold(class_index, now)
        queue = self.busy.get(bucket)
        if queue is None:
            gap = (first - floor) & _MASK
            # A gap that is too wide for the window will not be filled.
            if not ordered or gap == 0 or gap >= SIZE or hold <= 0:
                self.put(class_index, payloads)
                return
            queue = self.busy[bucket] = _Queue(floor)
        until = now + hold
        self._due = min(self._due, until)
        for number, payload in enumerate(payloads, first):
            self._take(queue, number, (until, payload, class_index), ordered=ordered)
        if queue.order:
            self._look_for_losses(queue, path, first + len(payloads) - 1, paths)
        if not queue.order:
            self._close(bucket)

    def fire(self, now: float) -> None:
        """Give up the gaps that were waited for long enough."""
        if now < self._due:
            return
        self._due = math.inf
        for bucket, queue in list(self.busy.items()):
            while queue.order:
                position = next(iter(queue.held))
                until = queue.held[position][0]
                if until > now:
                    self._due = min(self._due, until)
                    break
                self.given_up += 1
                self._advance(queue, position)
            if not queue.order:
                self._close(bucket)

    def deadline(self) -> float:
        """Return when fire() must be called next; that may be too early when a gap was filled since."""
        return self._due

    def release(self) -> None:
        """Let everything go, in order."""
        self.fire(math.inf)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _take(self, queue: _Queue, number: int, item: tuple[float, bytes, int], *, ordered: bool) -> None:
        ahead = (number - queue.floor) & _MASK
        position = queue.floor + ahead
        if ahead >= _HALF or position in queue.held:
            # Nobody waits for it any more; or a peer skipped half of all numbers to say one again.
            self.put(item[2], [item[1]])
            return
        self.waiting += 1
        if not ordered and queue.order and position < queue.order[0]:
            self.put(item[2], [item[1]])
            heappush(queue.passed, position)
        else:
            heappush(queue.order, position)
            queue.held[position] = item
            self.held += 1
            self._octets += len(item[1])
        self._advance(queue, queue.floor)
        while queue.order and (
            position - queue.floor >= SIZE or self.waiting > CAPACITY or self._octets > CAPACITY_OCTETS
        ):
            self._advance(queue, queue.order[0])

    def _look_for_losses(self, queue: _Queue, path: int, number: int, paths: int) -> None:
        """Note that ``path`` brought ``number``, and give up what none of so many paths can bring any more."""
        ahead = (number - queue.floor) & _MASK
        if ahead >= _HALF:
            return
        tops = queue.tops
        tops[path] = max(tops.get(path, 0), queue.floor + ahead)
        if len(tops) >= paths:
            self._advance(queue, min(tops.values()) - THRESHOLD)

    def _advance(self, queue: _Queue, floor: int) -> None:
        """Wait no longer for what is below ``floor``; let go what then waits for nothing."""
        order, passed = queue.order, queue.passed
        queue.floor = max(queue.floor, floor)
        while True:
            if order and order[0] <= queue.floor:
                position = heappop(order)
                _until, payload, class_index = queue.held.pop(position)
                self._octets -= len(payload)
                self.put(class_index, [payload])
            elif passed and passed[0] <= queue.floor:
                position = heappop(passed)
            else:
                return
            self.waiting -= 1
            queue.floor = max(queue.floor, position + 1)

    def _close(self, bucket: int) -> None:
        """Forget a bucket in which nothing is held, and so nothing passed: that was before something held."""
        del self.busy[bucket]
        if not self.busy:
            self._due = math.inf
