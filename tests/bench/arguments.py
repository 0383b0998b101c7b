# SPDX-License-Identifier: GPL-3.0-or-later
"""Values on the command line, each with an error that says what was expected."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def positive(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number above 0")
    return int(text)


def some(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a function that reads some of the names of ``known`` between commas, and puts them in its order."""
    names = list(known)

    def parse(text: str) -> tuple[str, ...]:
        words = text.split(",")
        for word in words:
            if word not in names:
                raise argparse.ArgumentTypeError(f"found {word!r}, expected some of {','.join(names)}")
        return tuple(name for name in names if name in words)

    return parse
