# SPDX-License-Identifier: GPL-3.0-or-later
"""What a trial found, and whether that is what was promised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Outcome:
    """One line of the table: figures by name, and promises that were not kept."""

    name: str
    values: dict[str, float | str] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def expect(self, kept: bool, promise: str) -> None:  # noqa: FBT001 - reads as a sentence
        """Note a promise that was not kept."""
        if not kept:
            self.missed.append(promise)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that this share of the values does not pass (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000 * len(ordered)) // 1000) - 1))]


def text(outcomes: Sequence[Outcome]) -> str:
    """Return the table."""
    width = max(len(outcome.name) for outcome in outcomes)
    lines = []
    for outcome in outcomes:
        figures = "  ".join(f"{name} {_shown(value)}" for name, value in outcome.values.items())
        lines.append(f"{outcome.name:<{width}}  {'ok    ' if not outcome.missed else 'MISSED'}  {figures}")
        lines += [f"{'':<{width}}  not kept: {promise}" for promise in outcome.missed]
    return "\n".join(lines)


def _shown(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value}"
