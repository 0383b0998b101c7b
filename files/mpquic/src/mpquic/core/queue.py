# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place where inner packets may wait: bounded in number and in age, the oldest go first."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

#: Packets: 100 ms at 10 000 packets per second.
CAPACITY = 1024
#: Seconds. Waiting longer only adds delay to what the sender has already given up or repeated.
MAX_AGE = 0.1


class PacketQueue:
    """A queue of payloads in front of a connection; what it drops is counted in ``drops``."""

    def __init__(self, drops: Counter[str], capacity: int = CAPACITY, max_age: float = MAX_AGE) -> None:
        """Count drops as ``queue_full`` and ``queue_age``."""
        self._drops = drops
        self._capacity = capacity
        self._max_age = max_age
        self._items: deque[tuple[float, bytes]] = deque()

    def __len__(self) -> int:
        """Return the number of waiting payloads."""
        return len(self._items)

    def push(self, payloads: Iterable[bytes], now: float) -> None:
        """Append payloads; the oldest make room."""
        items = self._items
        items.extend([(now, payload) for payload in payloads])
        excess = len(items) - self._capacity
        if excess > 0:
            self._drops["queue_full"] += excess
            for _packet in range(excess):
                items.popleft()

    def take(self, limit: int, now: float) -> list[tuple[float, bytes]]:
        """Remove and return up to ``limit`` payloads that are not too old, each with its time of arrival."""
        items = self._items
        oldest = now - self._max_age
        while items and items[0][0] < oldest:
            items.popleft()
            self._drops["queue_age"] += 1
        return [items.popleft() for _packet in range(min(limit, len(items)))]

    def put_back(self, items: Sequence[tuple[float, bytes]]) -> None:
        """Return to the head what was taken last and could not leave."""
        self._items.extendleft(reversed(items))

    def clear(self) -> int:
        """Drop everything and return how much that was."""
        count = len(self._items)
        self._items.clear()
        return count
