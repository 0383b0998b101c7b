# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for people: aligned columns of short cells."""

from __future__ import annotations

from typing import Any


def table(rows: list[tuple[str, ...]]) -> str:
    """Return rows with their columns aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def spare_table(rows: list[tuple[str, ...]]) -> str:
    """Return rows, of which the first is the heading, without the columns that say nothing."""
    said = [column for column in range(len(rows[0])) if any(row[column] != "-" for row in rows[1:])]
    return table([tuple(row[column] for column in said) for row in rows])


def plain(item: dict[str, Any], key: str) -> str:
    """Return a value as a cell, ``-`` without one."""
    value = item.get(key)
    return "-" if value is None or value == "" else str(value)


def milliseconds(value: float | None) -> str:
    """Return a time given in milliseconds as a cell."""
    return f"{value:.1f}ms" if value is not None else "-"


def size(count: int | None) -> str:
    """Return a number of bytes as a cell."""
    if count is None:
        return "-"
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f}{unit}" if unit == "B" else f"{amount:.1f}{unit}"
        amount /= 1000
    return f"{amount:.1f}TB"
