# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is due when, among many: a heap that forgives entries which are too early."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Generic, TypeVar

_Item = TypeVar("_Item")

#: Stale entries that may stay beside as many as there are items: each keeps an item in memory that may be long gone.
_STALE = 64


class Schedule(Generic[_Item]):
    """Remembers one time for each item (seconds); looks at few of them per call, however many there are."""

    def __init__(self) -> None:
        """Start empty."""
        self._heap: list[tuple[float, int, _Item]] = []
        self._times: dict[_Item, float] = {}
        self._order = itertools.count()

    def put(self, item: _Item, when: float) -> None:
        """Call ``item`` at ``when`` at the latest. A later time than before takes effect when the earlier one comes."""
        if when < self._times.get(item, math.inf):
            self._times[item] = when
            heapq.heappush(self._heap, (when, next(self._order), item))
            if len(self._heap) > 2 * len(self._times) + _STALE:
                self._heap = [(time, next(self._order), each) for each, time in self._times.items()]
                heapq.heapify(self._heap)

    def discard(self, item: _Item) -> None:
        """Forget an item."""
        self._times.pop(item, None)

    def due(self, now: float) -> list[_Item]:
        """Return the items whose time has come, and forget their times: they are put again."""
        items = []
        while self._heap and self._heap[0][0] <= now:
            when, _order, item = heapq.heappop(self._heap)
            if self._times.get(item) == when:
                del self._times[item]
                items.append(item)
        return items

    def next(self) -> float:
        """Return when the next item is due, infinity without one."""
        while self._heap and self._times.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf
