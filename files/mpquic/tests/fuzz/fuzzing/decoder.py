# SPDX-License-Identifier: GPL-3.0-or-later
"""What is fuzzed: one class per decoder."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from random import Random

    from fuzzing.mutation import Mutator

#: What a decoder gets at once: datagrams, payloads, reads; or a single text or stream.
Input = tuple[bytes, ...]


class Decoder:
    """Feeds one decoder. The only exception that feed() lets out is a finding."""

    #: Its name, also that of its folder of samples.
    name: ClassVar[str]
    #: Inputs in a quick run: a fraction of a second.
    quick: ClassVar[int]
    #: What is put into texts.
    tokens: ClassVar[tuple[bytes, ...]] = ()
    #: Bytes of one item at most.
    longest: ClassVar[int] = 4096
    #: Blocks of memory in use at rest by which the end of a run may exceed its first tenth.
    max_blocks: ClassVar[int] = 500
    #: Notes that a quick run has to make.
    states: ClassVar[tuple[str, ...]] = ()

    def __init__(self, rng: Random) -> None:
        """Make what the inputs are fed to."""
        self.rng = rng
        #: What happened beside acceptance and refusal.
        self.notes: Counter[str] = Counter()

    def prepare(self, sample: Input) -> Input:
        """Return a sample of the corpus as it is mutated."""
        return sample

    def generate(self, mutator: Mutator) -> Input:
        """Return the next input."""
        return mutator.next()

    def feed(self, items: Input) -> bool:
        """Decode; tell whether the input was accepted. Raises AssertionError when what comes out is wrong."""
        raise NotImplementedError

    def settle(self) -> None:
        """Let everything end that ends by itself, before memory is measured."""

    def close(self) -> None:
        """Remove what was made."""
