# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for people: aligned columns of short cells, with colours on a terminal, plain in a pipe."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

GOOD, DOUBTFUL, BAD, QUIET = "green", "yellow", "bold red", "dim"


class Cell(NamedTuple):
    """A text, and how a terminal shows it: a style of rich, "" for none."""

    text: str
    style: str = ""


Row = list[Cell]


def colourful() -> bool:
    """Tell whether the output is a terminal whose user has not asked for no colours (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show(head: Sequence[str], rows: Sequence[Row]) -> None:
    """Print a table without the columns that say nothing."""
    if colourful():
        from rich.console import Console  # noqa: PLC0415 - not needed in a pipe

        Console(highlight=False).print(rich_table(*_spare(head, rows)))
    else:
        print(spare_table([tuple(head), *(tuple(cell.text for cell in row) for row in rows)]))


def rich_table(head: Sequence[str], rows: Sequence[Row]) -> Table:
    """Return a table for a terminal: it takes what width there is, and its last column as many lines as needed."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    found = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in head:
        last = name == head[-1]
        found.add_column(
            name,
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
            ratio=1 if last else None,
            min_width=20 if last else None,
        )
    for row in rows:
        found.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    return found


def _spare(head: Sequence[str], rows: Sequence[Row]) -> tuple[list[str], list[Row]]:
    said = [column for column in range(len(head)) if any(row[column].text != "-" for row in rows)]
    return [head[column] for column in said], [[row[column] for column in said] for row in rows]


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


def percent(share: float | None) -> str:
    """Return a share, 0 to 1, as a cell."""
    return f"{share:.1%}" if share is not None else "-"


def duration(seconds: float | None) -> str:
    """Return a time given in seconds as a cell, in its two largest units."""
    if seconds is None:
        return "-"
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts or unit == "s":
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])


def rate(bits: int | None) -> str:
    """Return bits per second as a cell."""
    if bits is None:
        return "-"
    amount = float(bits)
    for unit in ("bit", "kbit", "Mbit"):
        if amount < 1000:
            return f"{amount:.0f}{unit}/s" if unit == "bit" else f"{amount:.1f}{unit}/s"
        amount /= 1000
    return f"{amount:.2f}Gbit/s"


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
