# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What a host answered, taken as no more than JSON: a value of another kind is as good as none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]

#: Letters of one text, and the largest number that something on a host may have.
_LONGEST, _MOST = 500, 10**15


def text(entry: Entry, key: str) -> str:
    """Return a text, an empty one without any."""
    value = entry.get(key)
    return clean(value) if isinstance(value, str) else str(value) if number(entry, key) is not None else ""


def clean(value: str) -> str:
    """Return a text of bounded length that can be written to a file."""
    return value[:_LONGEST].encode("utf-8", "replace").decode()


def number(entry: Entry, key: str) -> float | None:
    """Return a number of the size that figures have, None without any."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST < value < _MOST:
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
    return [clean(item) for item in value if isinstance(item, str)]
