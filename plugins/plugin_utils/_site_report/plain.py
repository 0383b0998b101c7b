# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What a host answered, taken as no more than JSON: a value of another kind is as good as none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]


def text(entry: Entry, key: str) -> str:
    """Return a text, an empty one without any."""
    value = entry.get(key)
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def number(entry: Entry, key: str) -> float | None:
    """Return a finite number, None without any."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def inner(entry: Entry, key: str) -> Entry:
    """Return a mapping, an empty one without any."""
    value = entry.get(key)
    return value if isinstance(value, Mapping) else {}


def entries(entry: Entry, key: str) -> list[Entry]:
    """Return the mappings of a list."""
    value = entry.get(key)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def texts(entry: Entry, key: str) -> list[str]:
    """Return the texts of a list."""
    value = entry.get(key)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [item for item in value if isinstance(item, str)]
