# SPDX-License-Identifier: GPL-3.0-or-later
"""From what several paths brought to payloads that came once and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.multipath.dedup import Dedup
from mpquic.core.multipath.reorder import Reorder
from mpquic.core.multipath.sequence import NUMBERS, runs

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
_STATUS = bytes([wire.CONTEXT_STATUS])
#: How a payload begins that has no whole head.
_CUT = {b"", bytes([wire.CONTEXT_SEQUENCED])}


class Receiver:
    """Takes the payloads of all paths."""

    __slots__ = ("_dedup", "_drops", "_hear", "_tally", "reorder")

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

    def restart(self) -> None:
        """Let go what is held, and forget what came: the other end numbers anew."""
        self.reorder.release()
        self._dedup.clear()

    def receive(self, path: Path, payloads: Sequence[bytes], now: float) -> None:
        """Take what came by ``path``. What may be handed on is in ``reorder.ready`` then.

        Counted: ``duplicate`` numbers that came before and were not sent as copies, ``stale`` numbers too old to know,
        ``context`` other payloads than those of contexts 2 and 4, ``malformed`` such without a whole head.
        """
        reorder, dedup, classes = self.reorder, self._dedup, self._tally.by_index
        note, put, following = dedup.note, reorder.put, dedup.following
        counters = path.counters
        counters.rx_packets += len(payloads)
        counters.rx_bytes += sum(map(len, payloads)) - wire.SEQUENCED_OVERHEAD * len(payloads)
        for head, bodies, start in runs(payloads):
            if head >> 48 != _SEQUENCED:
                self._other(path, payloads[start : start + len(bodies)], now)
                continue
            bucket, first, class_index = head >> 32 & 0xFF, head & _NUMBER, head >> 40 & wire.SEQUENCED_CLASS
            floor = following[bucket]
            new = note(bucket, first, len(bodies))
            if new is not None:
                self._some(path, head, bodies, new, floor, now)
                continue
            classes[class_index].rx_packets += len(bodies)
            if bucket in reorder.busy or (first != floor and head & _ORDERED):
                ordered = head & _ORDERED != 0
                reorder.push(bucket, floor, first, bodies, class_index, now=now, ordered=ordered, path=path.number)
            else:
                put(class_index, bodies)

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
