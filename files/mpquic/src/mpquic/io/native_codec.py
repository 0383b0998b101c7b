# SPDX-License-Identifier: GPL-3.0-or-later
"""Cutting and merging by the native library: the twin of mpquic.core.offload.VnetCodec."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from mpquic.core.gate import OPEN
from mpquic.core.offload import VnetCodec
from mpquic.native import library as native
from mpquic.native.buffers import Batch, Room
from mpquic.native.buffers import batch as batch_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.gate import Gate
    from mpquic.core.types import Frame
    from mpquic.native import Library

#: Room at first: payloads, and bytes of them.
_PAYLOADS = 4096
_OCTETS = 1 << 19


class NativeCodec(VnetCodec):
    """See mpquic.core.offload.Codec. What the library has no room for, the reference does."""

    def __init__(self, library: Library, *, udp: bool) -> None:
        """Merge UDP as well if the device takes it."""
        super().__init__(udp=udp)
        self._library = library
        self._room = Room(_PAYLOADS, _OCTETS)
        self._merged = native.Merged()
        self._pairs = (ctypes.c_uint32 * native.MERGE_MOST)()
        self._firsts = (ctypes.c_uint32 * native.MERGE_MOST)()
        self._ats = (ctypes.c_uint32 * native.MERGE_MOST)()

    def ingress(self, reads: Sequence[bytes], drops: Counter[str], ends: list[int] | None = None) -> list[bytes]:
        """Return the payloads of the packets that were read, packets of many segments cut."""
        if not reads:
            return []
        batch, room = batch_of(reads), self._room
        # Twice the size is enough for segments that are no shorter than their headers.
        room.fit(_PAYLOADS, 2 * batch.size + batch.count)
        stops = (ctypes.c_uint32 * batch.count)()
        faults = (ctypes.c_uint32 * len(native.SPLIT_FAULTS))()
        count = self._library.split(*batch.arguments, *room.arguments, stops, faults)
        if count < 0:
            return super().ingress(reads, drops, ends)
        _count(drops, native.SPLIT_FAULTS, faults)
        if ends is not None:
            ends += stops
        return room.items(count)

    def egress(self, payloads: Sequence[bytes], drops: Counter[str], gate: Gate) -> tuple[list[Frame], int, int]:
        """Return as few writes as may be."""
        if not 0 < len(payloads) <= native.MERGE_MOST:
            return super().egress(payloads, drops, gate)
        batch, room, merged = batch_of(payloads), self._room, self._merged
        room.fit(batch.count, batch.size + batch.count * self.header)
        reasons = [] if gate is OPEN else self._judge(batch, payloads, gate)
        refused = (ctypes.c_uint32 * len(reasons))()
        judged: tuple[Any, ...] = (None, None, None, 0)
        if any(reasons):
            judged = (self._pairs, bytes(map(bool, reasons)), refused, len(reasons))
        status = self._library.merge(*batch.arguments, self._udp, *judged, *room.arguments, merged)
        if status < 0:
            return super().egress(payloads, drops, gate)
        _count(drops, reasons, refused)
        _count(drops, native.MERGE_FAULTS, merged.faults)
        return list(zip(room.items(merged.frames))), merged.packets, merged.octets

    def _judge(self, batch: Batch, payloads: Sequence[bytes], gate: Gate) -> list[str]:
        """Return what the gate says of each pair of addresses in a batch."""
        firsts, ats = self._firsts, self._ats
        count = self._library.pairs(*batch.arguments, self._pairs, firsts, ats)
        fault = gate.fault
        return [fault(payloads[first], at) for first, at in zip(firsts[:count], ats[:count], strict=True)]


def _count(drops: Counter[str], reasons: Sequence[str], counts: ctypes.Array[ctypes.c_uint32]) -> None:
    if any(counts):
        for reason, count in zip(reasons, counts, strict=True):
            if count:
                drops[reason] += count
