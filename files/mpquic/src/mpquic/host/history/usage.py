# SPDX-License-Identifier: GPL-3.0-or-later
"""What metered WANs have used of their quotas: made from the store by the recorder, read by everybody else.

`told` is the one way to read it, for the status, for metrics and for alerts; it needs neither root nor the store.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.host.history import billing, counting

if TYPE_CHECKING:
    import sqlite3
    from datetime import date

    from mpquic.host.history.wan import Wan

FILE = Path("/run/mpquic/wans.json")
OK, WARN, FULL = "ok", "warn", "full"
"""Levels: below the first warning, above it, quota used up."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One WAN in its billing period.

    ``wan`` is its name in the inventory and ``interface`` the device that it is now, None when there is none.
    ``since`` is the first day of the period and ``until`` that of the next (YYYY-MM-DD). ``used_bytes`` is both
    directions together; ``quota_bytes`` and ``percent`` are None without a quota. ``warned`` is the highest of the
    percentages in ``warn`` that is reached, 100 for a quota that is used up, None for none.
    """

    wan: str
    interface: str | None
    metered: bool
    since: str
    until: str
    rx_bytes: int
    tx_bytes: int
    used_bytes: int
    quota_bytes: int | None
    percent: float | None
    warn: tuple[int, ...]
    warned: int | None
    level: str


def find(connection: sqlite3.Connection, wan: Wan, interface: str | None, today: date) -> Usage:
    """Return what a WAN has used so far in the period of a day."""
    since, until = billing.period(today, wan.billing_day)
    rx, tx = counting.carried(connection, wan.name, since.isoformat())
    percent = round((rx + tx) * 100 / wan.quota, 2) if wan.quota else None
    reached = [level for level in (*wan.warn, 100) if percent is not None and percent >= level]
    warned = max(reached, default=None)
    return Usage(
        wan=wan.name,
        interface=interface,
        metered=wan.metered,
        since=since.isoformat(),
        until=until.isoformat(),
        rx_bytes=rx,
        tx_bytes=tx,
        used_bytes=rx + tx,
        quota_bytes=wan.quota,
        percent=percent,
        warn=wan.warn,
        warned=warned,
        level=OK if warned is None else FULL if warned == 100 else WARN,
    )


def left(found: Usage) -> int | None:
    """Return the bytes until a WAN reaches its next warning, None when there is none any more."""
    levels = [level for level in (*found.warn, 100) if level > (found.warned or 0)]
    if found.quota_bytes is None or not levels:
        return None
    return -(-found.quota_bytes * min(levels) // 100) - found.used_bytes


def write(found: list[Usage], at: float, file: Path = FILE) -> None:
    """Tell everybody; ``at`` (Unix seconds) is when it was counted. Raises OSError."""
    file.parent.mkdir(mode=0o755, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"at": at, "wans": [asdict(usage) for usage in found]}), encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(file)


def told(file: Path = FILE) -> list[dict[str, Any]]:
    """Return what the recorder counted last: the fields of Usage for each WAN, or nothing."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return [dict(entry) for entry in found["wans"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def line(usage: dict[str, Any]) -> str:
    """Return one WAN as a line for people."""
    name = usage["wan"]
    if usage["interface"] is None:
        name += " (no such interface now)"
    elif usage["interface"] != usage["wan"]:
        name += f" (now {usage['interface']})"
    used = volume(usage["used_bytes"])
    if usage["quota_bytes"]:
        used += f" of {volume(usage['quota_bytes'])} ({usage['percent']:.0f}%)"
    warning = {FULL: ", QUOTA USED UP", WARN: ", soon used up"}.get(usage["level"], "")
    backup = ", kept as a backup" if usage["metered"] else ""
    return f"{name}: {used} used since {usage['since']}{warning}, begins anew {usage['until']}{backup}"


def volume(count: int) -> str:
    """Return bytes as quotas are sold."""
    return f"{count / 1e9:.2f} GB" if count >= 100_000_000 else f"{count / 1e6:.1f} MB"
