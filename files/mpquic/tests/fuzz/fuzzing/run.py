# SPDX-License-Identifier: GPL-3.0-or-later
"""Feeding a decoder many inputs, and watching its memory meanwhile."""

from __future__ import annotations

import functools
import gc
import os
import random
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fuzzing import corpus
from fuzzing.mutation import Mutator

if TYPE_CHECKING:
    from collections import Counter

    from fuzzing.decoder import Decoder, Input

#: Growth that is no growth: what the process occupies, from the first tenth of a run to its worst moment (bytes).
#: Allocators keep some, and bounded caches fill. What is in use at rest is bounded by each decoder (max_blocks).
MAX_RESIDENT = 48 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


class FoundError(Exception):
    """An input that a decoder does not bear."""

    def __init__(self, name: str, items: Input, number: int, error: BaseException) -> None:
        """Remember the input; ``number`` is its place in the run."""
        super().__init__(f"{name}: input {number}: {type(error).__name__}: {error}")
        self.name = name
        self.items = items
        self.error = error


@dataclass
class Report:
    """What came of one decoder."""

    name: str
    inputs: int
    seconds: float
    accepted: int
    #: Growth from the first tenth to the end: blocks at rest, bytes at the worst.
    blocks: int
    max_blocks: int
    resident: int
    #: Processor time of the slowest input (seconds).
    slowest: float
    notes: Counter[str] = field(repr=False)

    @property
    def refused(self) -> int:
        return self.inputs - self.accepted

    @property
    def grew(self) -> bool:
        return self.blocks > self.max_blocks or self.resident > MAX_RESIDENT


def run(kind: type[Decoder], count: int, seed: int) -> Report:
    """Feed the samples as they are, then ``count`` inputs made of them. Raises FoundError."""
    rng = random.Random(f"{seed} {kind.name}")
    with closing(kind(rng)) as decoder:
        return _run(decoder, rng, count)


def replay(kind: type[Decoder], items: Input) -> bool:
    """Feed one input; tell whether it was accepted. Raises FoundError."""
    with closing(kind(random.Random(kind.name))) as decoder:
        return _feed(decoder, decoder.prepare(items), 0)


def _run(decoder: Decoder, rng: random.Random, count: int) -> Report:
    samples = [decoder.prepare(sample) for sample in corpus.load(decoder.name).values()]
    for sample in samples:
        _feed(decoder, sample, 0)
    mutator = Mutator(rng, samples, decoder.tokens, decoder.longest)
    accepted, slowest, worst = 0, 0.0, 0
    tenth = max(1, count // 10)
    first = _at_rest(decoder), _resident()
    start, before = time.perf_counter(), time.thread_time()
    for number in range(1, count + 1):
        items = decoder.generate(mutator)
        accepted += _feed(decoder, items, number)
        after = time.thread_time()
        slowest, before = max(slowest, after - before), after
        if number % tenth == 0:
            worst = max(worst, _resident())
            if number == tenth:
                first = _at_rest(decoder), max(worst, _resident())
                before = time.thread_time()
    seconds = time.perf_counter() - start
    blocks = _at_rest(decoder) - first[0]
    resident = max(worst, _resident()) - first[1]
    return Report(decoder.name, count, seconds, accepted, blocks, decoder.max_blocks, resident, slowest, decoder.notes)


def _feed(decoder: Decoder, items: Input, number: int) -> bool:
    try:
        return decoder.feed(items)
    except Exception as error:
        raise FoundError(decoder.name, items, number, error) from error


def _at_rest(decoder: Decoder) -> int:
    """Return the number of blocks in use once everything has ended that ends by itself."""
    decoder.settle()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "mpquic":
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    assert value.cache_parameters()["maxsize"] is not None, f"{name}: a cache without a limit"
                    value.cache_clear()
    gc.collect()
    return sys.getallocatedblocks()


def _resident() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - no path object per sample
        return int(file.read().split()[1]) * _PAGE
