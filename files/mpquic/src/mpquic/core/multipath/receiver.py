# SPDX-License-Identifier: GPL-3.0-or-later
"""From what several paths brought to payloads that came once and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.multipath.dedup import Dedup
from mpquic.core.multipath.reorder import Reorder
from mpquic.core.multipath.sequence import Run, is_sequenced, runs

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from mpquic.core.multipath.patience import Patience
    from mpquic.core.multipath.tally import Tally
    from mpquic.core.path import Path

#: Flags, where they are in a run's kind.
_ORDERED = wire.SEQUENCED_ORDERED << 8
_COPY = wire.SEQUENCED_COPY << 8
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
        following = dedup.following
        counters = path.counters
        counters.rx_packets += len(payloads)
        counters.rx_bytes += sum(map(len, payloads)) - wire.SEQUENCED_OVERHEAD * len(payloads)
        for run in runs(payloads):
            kind, first, bodies = run
            if not is_sequenced(kind):
                self._other(path, bodies, now)
                continue
            bucket, class_index = kind & 0xFF, kind >> 8 & wire.SEQUENCED_CLASS
            floor = following[bucket]
            new = dedup.note(bucket, first, len(bodies))
            if new is not None:
                self._some(path, run, new, floor, now)
                continue
            classes[class_index].rx_packets += len(bodies)
            if bucket in reorder or (first != floor and kind & _ORDERED):
                ordered = kind & _ORDERED != 0
                reorder.push(bucket, floor, first, bodies, class_index, now=now, ordered=ordered, path=path.number)
            else:
                reorder.put(class_index, bodies)

    def _some(self, path: Path, run: Run, new: Sequence[range], floor: int, now: float) -> None:
        """Take what is new of a run."""
        kind, first, bodies = run
        dedup, tally = self._dedup, self._tally.by_index[kind >> 8 & wire.SEQUENCED_CLASS]
        (duplicate, stale), dedup.duplicate, dedup.stale = (dedup.duplicate, dedup.stale), 0, 0
        tally.rx_dups += duplicate
        if duplicate and not kind & _COPY:
            self._drops["duplicate"] += duplicate
        if stale:
            self._drops["stale"] += stale
        for part in new:
            tally.rx_packets += len(part)
            self.reorder.push(
                kind & 0xFF,
                floor,
                first + part.start,
                bodies[part.start : part.stop],
                kind >> 8 & wire.SEQUENCED_CLASS,
                now=now,
                ordered=kind & _ORDERED != 0,
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
