# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting between attempts: exponential with full jitter, so that many clients do not come back in step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """Delays drawn evenly from nothing to a ceiling that doubles from ``base`` to ``cap`` seconds."""

    def __init__(self, base: float, cap: float, random: Callable[[], float]) -> None:
        """Take ``random`` as a source of numbers in [0, 1)."""
        self._base = base
        self._cap = cap
        self._random = random
        self._failures = 0

    @property
    def failures(self) -> int:
        """Failures since the last reset."""
        return self._failures

    def next(self, cap: float | None = None) -> float:
        """Count one more failure and return the seconds to wait, this once with another ``cap`` if given."""
        ceiling = min(self._cap if cap is None else cap, self._base * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return ceiling * self._random()

    def reset(self) -> None:
        """Start again at ``base``."""
        self._failures = 0
