# SPDX-License-Identifier: GPL-3.0-or-later
"""From reads of a TUN to numbered payloads in the lanes of several paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.multipath.sequence import Sequencer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.multipath.spreader import Spreader
    from mpquic.core.multipath.tally import Tally
    from mpquic.core.offload import Codec
    from mpquic.core.path import Path
    from mpquic.core.types import Counters


class Sender:
    """Sends what a spreader has sorted."""

    __slots__ = ("_counters", "_sequencer", "_spreader", "_tally")

    def __init__(self, spreader: Spreader, counters: Counters, tally: Tally) -> None:
        """Count packets, not copies, in ``counters``, and what there is to say of each class in ``tally``."""
        self._spreader = spreader
        self._counters = counters
        self._tally = tally
        self._sequencer = Sequencer()

    def send(self, reads: Sequence[bytes], codec: Codec, now: float) -> list[Path]:
        """Take reads of the TUN; return the paths that have something to flush then.

        Counted and dropped: packets for which no path is there (``no_path``).
        """
        counters, classes = self._counters, self._tally.by_index
        ingress, number, drops = codec.ingress, self._sequencer.number, counters.drops
        batches: dict[Path, list[bytes]] = {}
        for way, buckets, taken in self._spreader.spread(reads, codec.header, now):
            index, paths = way.class_index, way.paths
            tally, copies = classes[index], len(paths) - 1
            ends: list[int] = []
            payloads = ingress(taken, drops, ends)
            if not payloads:
                continue
            if not paths:
                drops["no_path"] += len(payloads)
                tally.tx_err += len(payloads)
                continue
            payloads = number(payloads, buckets, ends, index, ordered=way.ordered, copy=copies > 0)
            count = len(payloads)
            size = sum(map(len, payloads)) - wire.SEQUENCED_OVERHEAD * count
            tally.tx_packets += count
            tally.tx_bytes += size
            counters.tx_packets += count
            counters.tx_bytes += size
            if way.dealer is not None:
                dealt: dict[Path, list[bytes]] = {}
                for path, payload in zip(way.dealer.deal([*map(len, payloads)]), payloads, strict=True):
                    dealt.setdefault(path, []).append(payload)
                for path, some in dealt.items():
                    share = tally.share(path)
                    share.tx_packets += len(some)
                    share.tx_bytes += sum(map(len, some)) - wire.SEQUENCED_OVERHEAD * len(some)
                    batches.setdefault(path, []).extend(some)
                continue
            tally.tx_dups += count * copies
            for path in paths:
                some = payloads if path is paths[0] else path.lane.copies(payloads, path.connection)
                share = tally.share(path)
                share.tx_packets += len(some)
                share.tx_bytes += (
                    size if some is payloads else sum(map(len, some)) - wire.SEQUENCED_OVERHEAD * len(some)
                )
                batch = batches.get(path)
                if batch is not None:
                    batch += some
                else:
                    batches[path] = some.copy() if copies else some
        for path, batch in batches.items():
            path.lane.enqueue(batch, path.connection, now)
        return list(batches)
