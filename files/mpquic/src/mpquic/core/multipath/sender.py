# SPDX-License-Identifier: GPL-3.0-or-later
"""From reads of a TUN to numbered payloads in the lanes of several paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.multipath.sequence import Sequencer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.multipath.policy import Policy
    from mpquic.core.multipath.spreader import Share, Spreader
    from mpquic.core.multipath.tally import Tally
    from mpquic.core.offload import Codec
    from mpquic.core.path import Path
    from mpquic.core.types import Counters


class Sender:
    """Sends what a spreader has sorted."""

    __slots__ = ("_counters", "_sequencer", "_sprayed", "_spreader", "_tally")

    def __init__(self, spreader: Spreader, counters: Counters, tally: Tally) -> None:
        """Count packets, not copies, in ``counters``, and what there is to say of each class in ``tally``."""
        self._spreader = spreader
        self._counters = counters
        self._tally = tally
        self._sequencer = Sequencer()
        #: The indices of the classes that are spread packet by packet.
        self._sprayed: frozenset[int] = frozenset()

    def configure(self, policy: Policy) -> None:
        """Send the packets of these classes."""
        self._sprayed = frozenset(index for index, one in enumerate(policy.classes) if one.spray)

    def send(self, reads: Sequence[bytes], codec: Codec, now: float) -> list[Path]:
        """Take reads of the TUN; return the paths that have something to flush then.

        Counted and dropped: packets for which no path is there (``no_path``).
        """
        counters, classes, number, sprayed = self._counters, self._tally.by_index, self._sequencer.number, self._sprayed
        ingress, drops = codec.ingress, counters.drops
        batches: dict[Path, list[bytes]] = {}
        packets = octets = 0
        for share in self._spreader.spread(reads, codec.header, now):
            flow, taken, paths, ordered = share
            payloads = ingress(taken, drops)
            if not payloads:
                continue
            count, index = len(payloads), flow.class_index
            tally = classes[index]
            if not paths:
                drops["no_path"] += count
                tally.tx_err += count
                continue
            size = (len(payloads[0]) if count == 1 else sum(map(len, payloads))) - wire.OVERHEAD * count
            tally.tx_packets += count
            tally.tx_bytes += size
            packets += count
            octets += size
            if index in sprayed:
                payloads = number(payloads, flow.bucket, index, ordered=ordered, copy=False)
                self._deal(share, payloads, batches, now)
                continue
            copies = len(paths) - 1
            payloads = number(payloads, flow.bucket, index, ordered=ordered, copy=copies > 0)
            if copies:
                tally.tx_dups += count * copies
            for path in paths:
                taken = payloads if path is paths[0] else path.lane.copies(payloads, path.connection)
                batch = batches.get(path)
                if batch is not None:
                    batch += taken
                else:
                    batches[path] = taken.copy() if copies else taken
        counters.tx_packets += packets
        counters.tx_bytes += octets
        for path, batch in batches.items():
            path.lane.enqueue(batch, path.connection, now)
        return list(batches)

    def _deal(self, share: Share, payloads: list[bytes], batches: dict[Path, list[bytes]], now: float) -> None:
        """Deal the packets of a flow out to several paths."""
        dealt = self._spreader.deal(share, [*map(len, payloads)], now)
        for path, payload in zip(dealt, payloads, strict=True):
            batches.setdefault(path, []).append(payload)
