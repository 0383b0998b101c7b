# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches as the library takes and gives them: items one after the other in one buffer, and an array of their sizes."""

from __future__ import annotations

import ctypes
from array import array
from functools import lru_cache
from itertools import groupby
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Runs of at least so many equal sizes are taken apart in one go.
_RUN = 4


class Batch:
    """What goes in."""

    __slots__ = ("arguments", "count", "size", "sizes")

    def __init__(self, data: bytes, sizes: array[int]) -> None:
        """Take items that are together already."""
        self.sizes = sizes
        self.count = len(sizes)
        self.size = len(data)
        #: For a call. Objects, not addresses: they last as long as the call, whatever becomes of the batch.
        self.arguments = (data, self.size, sizes.tobytes(), self.count)


def batch(items: Sequence[bytes]) -> Batch:
    """Return items put together."""
    data = items[0] if len(items) == 1 else b"".join(items)
    return Batch(data, array("I", map(len, items)))


class Room:
    """Where things come out. It grows and is used again and again."""

    __slots__ = ("_data", "_sizes", "arguments", "at", "count", "data", "size")

    def __init__(self, count: int, size: int) -> None:
        """Make room for ``count`` items of together ``size`` bytes."""
        self._make(count, size)

    def fit(self, count: int, size: int) -> None:
        """Make sure that there is so much room."""
        if count > self.count or size > self.size:
            self._make(max(count, self.count), max(size, self.size))

    def _make(self, count: int, size: int) -> None:
        self._data = ctypes.create_string_buffer(size)
        self._sizes = (ctypes.c_uint32 * count)()
        self.count, self.size = count, size
        self.data, self.at = ctypes.addressof(self._data), ctypes.addressof(self._sizes)
        self.arguments = (self.data, size, self.at, count)

    def sizes(self, count: int) -> list[int]:
        """Return the sizes of the first so many items."""
        return self._sizes[:count]

    def items(self, count: int) -> list[bytes]:
        """Return the first so many items."""
        sizes = self._sizes[:count]
        return cut(ctypes.string_at(self.data, sum(sizes)), sizes)

    def octets(self, size: int) -> bytes:
        """Return the first so many bytes."""
        return ctypes.string_at(self.data, size)


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Return items of these sizes out of ``data``, which has no more than them."""
    count = len(sizes)
    if count == 1:
        return [data]
    if count and sizes.count(sizes[0]) == count:
        return [*layout(sizes[0], count).unpack_from(data)]
    items: list[bytes] = []
    at = 0
    for size, group in groupby(sizes):
        run = len(list(group))
        if run >= _RUN:
            items += layout(size, run).unpack_from(data, at)
            at += run * size
            continue
        for _item in range(run):
            items.append(data[at : at + size])
            at += size
    return items


@lru_cache(maxsize=512)
def layout(size: int, count: int) -> Struct:
    """Return the layout of ``count`` items of ``size`` bytes."""
    return Struct(f"{size}s" * count)
