# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of packets that were sealed in batches: exact for every packet, one record per batch.

A record of aioquic's per packet costs more than sealing it. A batch has one time and consecutive packet numbers, so
two integers used as bitmaps hold the rest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: UDP payloads above this size (bytes) say something about the path's MTU: every path carries so much (RFC 9000
#: section 14).
LARGE = 1200
#: Packets for which it is remembered that they were given up.
MEMORY = 8192
#: The same for path MTU probes.
PROBES = 64


@dataclass(slots=True)
class _Batch:
    first: int
    stop: int
    sent_at: float
    #: Bit i: packet ``first + i`` is neither acknowledged nor lost.
    pending: int
    #: Bit i: packet ``first + i`` is large.
    large: int
    #: Size of a path MTU probe (bytes), 0 for data.
    probe: int


@dataclass(frozen=True, slots=True)
class Acked:
    """What an ACK frame acknowledged for the first time."""

    count: int
    largest: int
    sent_at: float
    large: bool
    probes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """What is given up, and when the earliest packet was sent that may be next."""

    data: int
    large: int
    probes: int
    next_sent_at: float | None


def _ones(count: int) -> int:
    return (1 << count) - 1 if count > 0 else 0


class Ledger:
    """Batches in flight, in the order of their packet numbers."""

    __slots__ = ("_batches", "_given_up", "_given_up_from", "_probes_given_up")

    def __init__(self) -> None:
        """Start with nothing in flight."""
        self._batches: deque[_Batch] = deque()
        #: Bit i: packet ``_given_up_from + i`` was lost, and no probe.
        self._given_up = 0
        self._given_up_from = 0
        #: Sizes of lost probes by packet number, the newest few.
        self._probes_given_up: dict[int, int] = {}

    def __bool__(self) -> bool:
        """Tell whether anything is in flight."""
        return bool(self._batches)

    def sent(self, first: int, sizes: Sequence[int], now: float, *, probe: int = 0) -> None:
        """Note packets from number ``first`` on, whose UDP payloads have these sizes (bytes)."""
        count = len(sizes)
        every = (1 << count) - 1
        if min(sizes) > LARGE:
            large = every
        elif max(sizes) <= LARGE:
            large = 0
        else:
            large = sum([1 << at for at, size in enumerate(sizes) if size > LARGE])
        self._batches.append(_Batch(first, first + count, now, every, large, probe))

    def acked(self, ranges: Iterable[range]) -> Acked | None:
        """Take the ranges of an ACK frame, in ascending order; None when they say nothing new."""
        count, largest, sent_at, large = 0, -1, 0.0, False
        probes: list[int] = []
        for batch, got in self._hits(ranges):
            batch.pending ^= got
            count += got.bit_count()
            largest, sent_at = batch.first + got.bit_length() - 1, batch.sent_at
            if batch.probe:
                probes.append(batch.probe)
            elif got & batch.large:
                large = True
        if not count:
            return None
        self._prune()
        return Acked(count, largest, sent_at, large, tuple(probes))

    def _hits(self, ranges: Iterable[range]) -> Iterator[tuple[_Batch, int]]:
        """Return each batch of which packets are acknowledged, and which."""
        # Both are in ascending order: one walk along both, whatever a peer puts into its frame.
        following = iter(ranges)
        acked = next(following, None)
        for batch in self._batches:
            got = 0
            while acked is not None and acked.start < batch.stop:
                low, high = max(acked.start, batch.first), min(acked.stop, batch.stop)
                if low < high:
                    got |= _ones(high - low) << (low - batch.first)
                if acked.stop > batch.stop:
                    break
                acked = next(following, None)
            got &= batch.pending
            if got:
                yield batch, got
            if acked is None:
                return

    def lost(self, largest_acked: int, packet_threshold: int, sent_by: float) -> Lost:
        """Give up packets as RFC 9002 section 6.1 has it.

        Lost is what was sent ``packet_threshold`` packets before ``largest_acked`` or more, or, before it, at the time
        ``sent_by`` or earlier.
        """
        data = large = probes = 0
        next_sent_at = None
        for batch in self._batches:
            if batch.first > largest_acked:
                break
            before = batch.pending & _ones(min(largest_acked + 1, batch.stop) - batch.first)
            if not before:
                continue
            gone = before
            if batch.sent_at > sent_by:
                gone = before & _ones(min(largest_acked - packet_threshold + 1, batch.stop) - batch.first)
                if gone != before and next_sent_at is None:
                    next_sent_at = batch.sent_at
            batch.pending ^= gone
            if batch.probe:
                probes += gone.bit_count()
                self._give_up_probe(batch.first, batch.probe)
            else:
                data += gone.bit_count()
                self._give_up(batch.first, gone)
                large += (gone & batch.large).bit_count()
        if data or probes:
            self._prune()
        return Lost(data, large, probes, next_sent_at)

    def late(self, ranges: Iterable[range]) -> int:
        """Return how many packets these ranges of an ACK frame acknowledge that had been given up: merely late ones."""
        given_up = self._given_up
        if not given_up:
            return 0
        count, start, length = 0, self._given_up_from, given_up.bit_length()
        for acked in ranges:
            low, high = max(acked.start - start, 0), min(acked.stop - start, length)
            found = given_up & (_ones(high - low) << low) if low < high else 0
            if found:
                count += found.bit_count()
                given_up ^= found
        self._given_up = given_up
        return count

    def late_probes(self, ranges: Sequence[range]) -> list[int]:
        """Return the sizes (bytes) of probes that these ranges acknowledge although they had been given up.

        Three packets that overtake a probe are no sign that it was too large.
        """
        probes = self._probes_given_up
        found = [number for number in probes if any(number in acked for acked in ranges)] if probes else []
        return [probes.pop(number) for number in found]

    def _give_up_probe(self, number: int, size: int) -> None:
        probes = self._probes_given_up
        probes[number] = size
        if len(probes) > PROBES:
            del probes[next(iter(probes))]

    def _give_up(self, first: int, packets: int) -> None:
        at = first - self._given_up_from
        if at > 2 * MEMORY:
            self._given_up >>= at - MEMORY
            self._given_up_from += at - MEMORY
            at = MEMORY
        if at >= 0:
            self._given_up |= packets << at

    def _prune(self) -> None:
        """Forget batches of which nothing is pending; they rarely end out of order."""
        batches = self._batches
        while batches and not batches[0].pending:
            batches.popleft()
        if not all(batch.pending for batch in batches):
            self._batches = deque([batch for batch in batches if batch.pending])
