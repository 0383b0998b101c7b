# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of ``lossy.py`` as Markdown."""

from __future__ import annotations

from typing import Any

_HEADS = {
    "loss_percent": "loss, %",
    "delivered_percent": "delivered, %",
    "added_p50_ms": "added, median, ms",
    "added_p99_ms": "added, p99, ms",
}


def tables(found: dict[str, Any]) -> str:
    """Return the two tables with their titles."""
    lossy = _table("10 Mbit/s offered to a link of 20 Mbit/s, round trip 50 ms, virtual time", found["lossy"])
    return lossy + "\n" + _table("30 Mbit/s offered to the same link, virtual time", found["overload"])


def _table(title: str, rows: list[dict[str, Any]]) -> str:
    columns = list(rows[0])
    lines = [f"### {title}", "", "| " + " | ".join(_HEADS.get(name, name) for name in columns) + " |"]
    lines.append("| " + " | ".join("---" if isinstance(rows[0][name], str) else "---:" for name in columns) + " |")
    lines += ["| " + " | ".join(str(item[name]) for name in columns) + " |" for item in rows]
    return "\n".join(lines) + "\n"
