# SPDX-License-Identifier: GPL-3.0-or-later
"""Context 2: payloads numbered by their sender, so that the receiver tells copies apart and can put them in order.

There are 256 buckets, each with numbers of its own (32 bits, serial arithmetic of RFC 1982). A flow stays in one
bucket, so the receiver's state has a fixed size, nothing of it depends on flows, and who waits delays 1 of 256 flows.
All layouts are in docs/protocol.md.
"""

from __future__ import annotations

from itertools import repeat
from operator import add, itemgetter
from typing import TYPE_CHECKING

from mpquic.core import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Independent spaces of sequence numbers.
BUCKETS = 256
#: Sequence numbers are taken modulo this.
NUMBERS = 1 << 32
#: Bytes before the payload that is carried: context, flags, bucket, number.
HEAD = 7

_MASK = NUMBERS - 1
_CONTEXT = wire.CONTEXT_SEQUENCED << 48
_take_head = itemgetter(slice(0, HEAD))
_take_rest = itemgetter(slice(HEAD, None))


class Sequencer:
    """Numbers what one end sends, from 0 on in each bucket."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        """Start every bucket at 0."""
        self._next = [0] * BUCKETS

    def number(  # noqa: PLR0913 - what there is to know about payloads
        self,
        payloads: Sequence[bytes],
        buckets: Sequence[int],
        ends: Sequence[int],
        class_index: int,
        *,
        ordered: bool,
        copy: bool,
    ) -> list[bytes]:
        """Return payloads of context 0 or 6 as payloads of context 2, with the next numbers of their buckets.

        The payloads up to the first of ``ends`` are of the first of ``buckets`` (0 to 255), and so on. ``class_index``
        is 0 to 15. ``ordered`` asks the receiver to wait for what was numbered before in a bucket, ``copy`` says that
        the same payloads leave by another path, too.
        """
        flags = class_index
        if ordered:
            flags |= wire.SEQUENCED_ORDERED
        if copy:
            flags |= wire.SEQUENCED_COPY
        base, following = _CONTEXT | flags << 40, self._next
        if len(set(buckets)) == 1:
            return list(map(add, self._heads(base, buckets[0], len(payloads)), payloads))
        numbered: list[bytes] = []
        start = 0
        for bucket, end in zip(buckets, ends, strict=True):
            if end == start + 1:
                first = following[bucket]
                following[bucket] = first + 1 & _MASK
                numbered.append((base | bucket << 32 | first).to_bytes(HEAD) + payloads[start])
            else:
                numbered += map(add, self._heads(base, bucket, end - start), payloads[start:end])
            start = end
        return numbered

    def _heads(self, base: int, bucket: int, count: int) -> Iterable[bytes]:
        """Return the heads with the next so many numbers of a bucket."""
        first = self._next[bucket]
        self._next[bucket] = first + count & _MASK
        base |= bucket << 32
        if first + count <= NUMBERS:
            numbers: Sequence[int] = range(base | first, (base | first) + count)
        else:
            numbers = [base | number & _MASK for number in range(first, first + count)]
        return map(int.to_bytes, numbers, repeat(HEAD))


def parts(payloads: Sequence[bytes]) -> tuple[list[int], list[bytes]]:
    """Return what arrived in two parts: what each payload begins with (HEAD bytes as an integer), and what follows."""
    return list(map(int.from_bytes, map(_take_head, payloads))), list(map(_take_rest, payloads))


def run(heads: Sequence[int], start: int) -> int:
    """Return where the run ends that begins at ``start``: consecutive numbers of one bucket with the same flags."""
    head, end = heads[start], len(heads)
    if heads[-1] == head + end - 1 - start and heads[start:] == list(range(head, heads[-1] + 1)):
        # One flow that is alone: nothing to look for.
        return min(end, start + NUMBERS - (head & _MASK))
    for at in range(start + 1, end):
        # The number after the last of a bucket is not the first of the next bucket.
        if heads[at] != head + at - start or not heads[at] & _MASK:
            return at
    return end
