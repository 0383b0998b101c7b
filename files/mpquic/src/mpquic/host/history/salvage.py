# SPDX-License-Identifier: GPL-3.0-or-later
"""What WANs have used, out of a store that is damaged elsewhere: a month's count is worth more than its figures."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Saved:
    """Rows as the store has them."""

    days: list[tuple[Any, ...]]
    marks: list[tuple[Any, ...]]


def read(path: Path) -> Saved:
    """Return what can be read of a store, which may be nothing."""
    days: list[tuple[Any, ...]] = []
    marks: list[tuple[Any, ...]] = []
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
        # Row by row: what comes before a damaged page is kept.
        days.extend(connection.execute("SELECT wan, day, rx, tx FROM wan_days"))
        marks.extend(connection.execute("SELECT wan, boot, ifindex, address, rx, tx FROM wan_marks"))
    return Saved([row for row in days if _sound(row, 2)], [row for row in marks if _sound(row, 4)])


def write(connection: sqlite3.Connection, saved: Saved) -> None:
    """Put it into a new store, in a transaction."""
    connection.executemany("INSERT OR IGNORE INTO wan_days VALUES(?,?,?,?)", saved.days)
    connection.executemany("INSERT OR IGNORE INTO wan_marks VALUES(?,?,?,?,?,?)", saved.marks)


def _sound(row: tuple[Any, ...], counters: int) -> bool:
    """Whether a row of a damaged file may be true."""
    return isinstance(row[0], str) and all(isinstance(value, int) and 0 <= value < 1 << 60 for value in row[counters:])
