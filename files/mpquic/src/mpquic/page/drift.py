# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watch wrote down (docs/drift.md): what it could not repair, and what it repaired of late."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mpquic.host import overview

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Bytes of the file that are read, lines of each kind, and seconds for which a repair is shown.
_SIZE, _MOST, _LATE = 1 << 20, 20, 3600.0


def read(file: Path, now: float) -> list[dict[str, Any]]:
    """Return lines with ``level`` and ``text``, of repairs ``at`` (Unix seconds), too; none of a file that is none."""
    try:
        with file.open("rb") as source:
            found = json.loads(source.read(_SIZE))
    except (OSError, ValueError, RecursionError):
        return []
    remaining = [{"level": overview.BAD, "text": text} for text, _entry in _lines(found, "remaining")]
    repaired = [
        {"level": "", "text": f"repaired: {text}", "at": entry["at"]}
        for text, entry in _lines(found, "repairs")
        if isinstance(entry.get("at"), int | float) and now - _LATE < entry["at"] <= now + 60
    ]
    return [*remaining[:_MOST], *repaired[: -_MOST - 1 : -1]]


def _lines(found: object, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = found.get(key) if isinstance(found, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            tunnel = f"tunnel {entry['tunnel']}: " if entry.get("tunnel") else ""
            yield f"{tunnel}{entry.get('code')}: {entry.get('message')}"[:500], entry
