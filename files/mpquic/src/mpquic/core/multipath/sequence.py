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
    from collections.abc import Sequence

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

    def number(
        self, payloads: Sequence[bytes], bucket: int, class_index: int, *, ordered: bool, copy: bool
    ) -> list[bytes]:
        """Return payloads of context 0 or 6 as payloads of context 2, with the next numbers of ``bucket`` (0 to 255).

        ``class_index`` is 0 to 15. ``ordered`` asks the receiver to wait for what was numbered before in this bucket,
        ``copy`` says that the same payloads leave by another path, too.
        """
        flags = class_index
        if ordered:
            flags |= wire.SEQUENCED_ORDERED
        if copy:
            flags |= wire.SEQUENCED_COPY
        base = _CONTEXT | flags << 40 | bucket << 32
        first = self._next[bucket]
        count = len(payloads)
        if count == 1:
            self._next[bucket] = (first + 1) & _MASK
            return [(base | first).to_bytes(HEAD) + payloads[0]]
        if first + count <= NUMBERS:
            numbers: Sequence[int] = range(base | first, (base | first) + count)
        else:
            numbers = [base | number & _MASK for number in range(first, first + count)]
        self._next[bucket] = (first + count) & _MASK
        return list(map(add, map(int.to_bytes, numbers, repeat(HEAD)), payloads))


#: Payloads that came one after the other with consecutive numbers of one bucket; or others, one after the other: what
#: the first begins with (HEAD bytes as an integer), all without these bytes, and where the first is in what came.
Run = tuple[int, list[bytes], int]


def runs(payloads: Sequence[bytes]) -> list[Run]:
    """Return what arrived, in its order, in as few runs as may be."""
    heads = list(map(int.from_bytes, map(_take_head, payloads)))
    if not heads:
        return []
    rests = list(map(_take_rest, payloads))
    following = heads[0]
    if (following & _MASK) + len(heads) <= NUMBERS and heads == list(range(following, following + len(heads))):
        # One flow that is alone: nothing to look for.
        return [(following, rests, 0)]
    found: list[Run] = []
    start = 0
    for at, head in enumerate(heads):
        if head != following:
            found.append((heads[start], rests[start:at], start))
            start = at
        # The number after the last of a bucket is not the first of the next bucket.
        following = head + 1 if head & _MASK != _MASK else -1
    found.append((heads[start], rests[start:], start))
    return found
