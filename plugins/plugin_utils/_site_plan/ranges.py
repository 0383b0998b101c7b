# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Sets of whole numbers as sorted ranges that neither overlap nor touch: ports, and addresses as numbers."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# First and last number, both in the range.
Range = tuple[int, int]
Ranges = tuple[Range, ...]


def united(ranges: Iterable[Range]) -> Ranges:
    """Return all numbers of the given ranges, which may overlap and come in any order."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def common(a: Ranges, b: Ranges) -> Ranges:
    """Return the numbers that are in both sets."""
    found = []
    i = j = 0
    while i < len(a) and j < len(b):
        first, last = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if first <= last:
            found.append((first, last))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def covers(outer: Ranges, inner: Ranges) -> bool:
    """Whether every number of ``inner`` is in ``outer``."""
    for first, last in inner:
        at = bisect_right(outer, (first, last)) - 1
        # A range of the same start that reaches further sorts behind.
        if at + 1 < len(outer) and outer[at + 1][0] == first:
            at += 1
        if at < 0 or not outer[at][0] <= first <= last <= outer[at][1]:
            return False
    return True
