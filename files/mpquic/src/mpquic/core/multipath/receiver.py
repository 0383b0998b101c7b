# SPDX-License-Identifier: GPL-3.0-or-later
"""From what several paths brought to payloads that came once and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.multipath.dedup import Dedup
from mpquic.core.multipath.reorder import Reorder
from mpquic.core.multipath.sequence import BUCKETS, NUMBERS, parts, run

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from mpquic.core.multipath.patience import Patience
    from mpquic.core.multipath.tally import Tally
    from mpquic.core.path import Path

_SEQUENCED = wire.CONTEXT_SEQUENCED
#: Flags and the number, where they are in a head.
_ORDERED = wire.SEQUENCED_ORDERED << 40
_COPY = wire.SEQUENCED_COPY << 40
_NUMBER = NUMBERS - 1
#: No head is that.
_NONE = -1
_STATUS = bytes([wire.CONTEXT_STATUS])
#: How a payload begins that has no whole head.
_CUT = {b"", bytes([wire.CONTEXT_SEQUENCED])}


class Receiver:
    """Takes the payloads of all paths."""

    __slots__ = ("_dedup", "_drops", "_expected", "_hear", "_tally", "reorder")

    def __init__(
        self,
        drops: Counter[str],
        tally: Tally,
        patience: Patience,
        hear: Callable[[Path, bytes, float], None],
    ) -> None:
        """Count what is refused in ``drops`` and the rest in ``tally``.

        ``patience`` is for Reorder. Payloads of context 4 go to ``hear(path, payload, now)``.
        """
        self._drops = drops
        self._tally = tally
        self._hear = hear
        self._dedup = Dedup()
        self.reorder = Reorder(patience)
        #: By bucket, the head that goes on where the last one ended, while nothing is missing and nothing waits. What
        #: comes as expected is known to ``_dedup`` only once something else comes.
        self._expected = [_NONE] * BUCKETS

    def receive(self, path: Path, payloads: Sequence[bytes], now: float) -> None:
        """Take what came by ``path``. What may be handed on is in ``reorder.ready`` then.

        Counted: ``duplicate`` numbers that came before and were not sent as copies, ``stale`` numbers too old to know,
        ``context`` other payloads than those of contexts 2 and 4, ``malformed`` such without a whole head.
        """
        counters = path.counters
        counters.rx_packets += len(payloads)
        counters.rx_bytes += sum(map(len, payloads)) - wire.SEQUENCED_OVERHEAD * len(payloads)
        heads, bodies = parts(payloads)
        if not heads:
            return
        if run(heads, 0) == len(heads):
            self._run(path, payloads, heads[0], bodies, now)
            return
        at = self._take_expected(path, heads, bodies)
        while at < len(heads):
            end = run(heads, at)
            self._run(path, payloads[at:end], heads[at], bodies[at:end], now)
            at = end

    def _take_expected(self, path: Path, heads: Sequence[int], bodies: list[bytes]) -> int:
        """Take what goes on where its bucket ended, packets of many flows in order; return where other heads begin."""
        expected = self._expected
        start = kind = 0
        at = len(heads)
        for place, head in enumerate(heads):
            bucket = head >> 32 & 0xFF
            if head != expected[bucket]:
                at = place
                break
            expected[bucket] = head + 1
            if head >> 40 != kind:
                self._put(path, kind, bodies[start:place])
                start, kind = place, head >> 40
        self._put(path, kind, bodies[start:at])
        return at

    def _put(self, path: Path, kind: int, bodies: list[bytes]) -> None:
        """Hand on what was expected of ``path``; ``kind`` is the upper part of its heads."""
        if bodies:
            index = kind & wire.SEQUENCED_CLASS
            self._tally.by_index[index].rx_packets += len(bodies)
            self._count(path, index, bodies)
            self.reorder.put(index, bodies)

    def _count(self, path: Path, class_index: int, bodies: list[bytes]) -> None:
        """Count what of a class came by a path, new or not."""
        share = self._tally.by_index[class_index].share(path)
        share.rx_packets += len(bodies)
        # What is left of a head is the context.
        share.rx_bytes += sum(map(len, bodies)) - len(bodies)

    def _run(self, path: Path, payloads: Sequence[bytes], head: int, bodies: list[bytes], now: float) -> None:
        """Take payloads with consecutive numbers, the first with this head; ``bodies`` is what follows the heads."""
        if head >> 48 != _SEQUENCED:
            self._other(path, payloads, now)
            return
        reorder, dedup = self.reorder, self._dedup
        bucket, first, class_index = head >> 32 & 0xFF, head & _NUMBER, head >> 40 & wire.SEQUENCED_CLASS
        self._count(path, class_index, bodies)
        expected = self._expected[bucket]
        if expected != _NONE:
            dedup.following[bucket] = expected & _NUMBER
        floor, ordered = dedup.following[bucket], head & _ORDERED != 0
        new = dedup.note(bucket, first, len(bodies))
        if new is not None:
            self._some(path, head, bodies, new, floor, now)
        else:
            self._tally.by_index[class_index].rx_packets += len(bodies)
            if bucket in reorder.busy or (first != floor and ordered):
                reorder.push(bucket, floor, first, bodies, class_index, now=now, ordered=ordered, path=path.number)
            else:
                reorder.put(class_index, bodies)
        plain = bucket not in reorder.busy and dedup.complete(bucket, first + len(bodies))
        self._expected[bucket] = head + len(bodies) if plain else _NONE

    def _some(  # noqa: PLR0913, PLR0917 - all that is known about a run
        self, path: Path, head: int, bodies: list[bytes], new: Sequence[range], floor: int, now: float
    ) -> None:
        """Take what is new of a run."""
        bucket, first, class_index = head >> 32 & 0xFF, head & _NUMBER, head >> 40 & wire.SEQUENCED_CLASS
        dedup, tally = self._dedup, self._tally.by_index[class_index]
        (duplicate, stale), dedup.duplicate, dedup.stale = (dedup.duplicate, dedup.stale), 0, 0
        tally.rx_dups += duplicate
        if duplicate and not head & _COPY:
            self._drops["duplicate"] += duplicate
        if stale:
            self._drops["stale"] += stale
        for part in new:
            tally.rx_packets += len(part)
            self.reorder.push(
                bucket,
                floor,
                first + part.start,
                bodies[part.start : part.stop],
                class_index,
                now=now,
                ordered=head & _ORDERED != 0,
                path=path.number,
            )

    def _other(self, path: Path, payloads: Sequence[bytes], now: float) -> None:
        """Take what is not of context 2."""
        counters = path.counters
        for payload in payloads:
            counters.rx_packets -= 1
            counters.rx_bytes -= len(payload) - wire.SEQUENCED_OVERHEAD
            if payload[:1] == _STATUS:
                self._hear(path, payload, now)
            else:
                path.rx_err += 1
                self._drops["malformed" if payload[:1] in _CUT else "context"] += 1
