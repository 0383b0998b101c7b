# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs out of samples: a few changes each, of the kinds that decoders trip over. Quick: microseconds per input."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from fuzzing.decoder import Input

#: Numbers at the edges of what fields of 1, 2, 4 and 8 bytes hold, and of variable-length integers.
_EDGES = tuple(
    number.to_bytes(size, "big")
    for size in (1, 2, 4, 8)
    for number in sorted({top - 1 + step for bits in (0, 1, 6, 7, 8) for step in (0, 1) for top in (1 << size * bits,)})
    if number < 1 << 8 * size
)
#: Headers are in the first bytes.
_HEAD = 64


class Mutator:
    """Draws inputs."""

    def __init__(
        self, rng: Random, samples: Sequence[Input], tokens: Sequence[bytes] = (), longest: int = 4096
    ) -> None:
        """Mutate ``samples``, and put ``tokens`` into them; items have ``longest`` bytes at most."""
        self._samples = samples
        self._tokens = tokens
        self._longest = longest
        self._random = rng.random
        self._bits = rng.getrandbits
        self._bytes = rng.randbytes

    def next(self) -> Input:
        """Return one input: now and then any bytes, mostly a sample with a few changes."""
        bits = self._bits
        if not self._samples or not bits(5):
            return (self.noise(),)
        sample = self.pick()
        if len(sample) == 1:
            return (self.mutate(sample[0]),)
        items = list(sample)
        if not bits(2):
            self._shuffle(items)
        for _ in range(1 if bits(2) else 3):
            at = self._place(len(items))
            items[at] = self.mutate(items[at])
        return tuple(items)

    def pick(self) -> Input:
        """Return a sample."""
        return self._samples[int(self._random() * len(self._samples))]

    def noise(self) -> bytes:
        """Return any bytes, rather few than many."""
        size = int(self._random() ** 3 * min(self._longest, 2000))
        return self._bytes(size)

    def mutate(self, data: bytes) -> bytes:  # noqa: C901 - a line per kind of change, called millions of times
        """Return these bytes with some changes."""
        bits, place, tokens = self._bits, self._place, self._tokens
        found = bytearray(data)
        for _ in range(1 + bits(1) if bits(2) else 1 + bits(3)):
            size = len(found)
            at = place(size)
            kind = bits(4)
            if kind < 3 and size:
                found[at] ^= 1 << bits(3)
            elif kind < 5 and size:
                found[at] = bits(8)
            elif kind == 5:
                del found[at:]
            elif kind == 6:
                del found[at : at + 1 + bits(3)]
            elif kind == 7:
                found[at:at] = self._bytes(1 + bits(3))
            elif kind == 8:
                found[at:at] = found[at : at + 1 + bits(5)]
            elif kind < 11:
                edge = _EDGES[int(self._random() * len(_EDGES))]
                found[at : at + len(edge)] = edge
            elif kind == 11 and at + 1 < size:
                # Lengths that are a little wrong.
                number = (found[at] << 8 | found[at + 1]) + bits(4) - 8
                found[at : at + 2] = (number & 0xFFFF).to_bytes(2, "big")
            elif kind == 12:
                other = self.pick()
                tail = other[int(self._random() * len(other))]
                found[at:] = tail[place(len(tail)) :]
            elif kind == 13 and size:
                to = place(size)
                found[at], found[to] = found[to], found[at]
            elif tokens:
                token = tokens[int(self._random() * len(tokens))]
                found[at : at + (len(token) if bits(1) else 0)] = token
            else:
                found += self._bytes(1 + bits(4))
        if len(found) > self._longest:
            del found[self._longest :]
        return bytes(found)

    def _place(self, size: int) -> int:
        """Return a position, half of the time among the first."""
        return int(self._random() * (min(size, _HEAD) if self._bits(1) else size))

    def _shuffle(self, items: list[bytes]) -> None:
        """Drop, repeat, move or borrow an item."""
        at = self._place(len(items))
        kind = self._bits(2)
        if kind == 0 and len(items) > 1:
            del items[at]
        elif kind == 1:
            items.insert(at, items[self._place(len(items))])
        elif kind == 2:
            to = self._place(len(items))
            items[at], items[to] = items[to], items[at]
        else:
            other = self.pick()
            items.insert(at, other[int(self._random() * len(other))])
