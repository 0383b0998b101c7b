# SPDX-License-Identifier: GPL-3.0-or-later
"""The few statistics that are needed."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

median = statistics.median


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` (0 to 100) per cent of all values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    rank = max(1, math.ceil(len(values) * share / 100))
    return sorted(values)[rank - 1]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the rise per unit of x of the line that fits best (least squares). Raises ValueError below two x."""
    try:
        return statistics.linear_regression([x for x, _y in points], [y for _x, y in points]).slope
    except statistics.StatisticsError as error:
        raise ValueError("a slope needs points at two times") from error


def least_share(rates: Sequence[float]) -> float:
    """Return the smallest of some rates as a share of the largest: 1 when all are alike."""
    return min(rates) / max(rates) if max(rates) > 0 else 0.0
