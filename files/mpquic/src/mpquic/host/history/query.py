# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers out of the store: figures of a span of time, in steps, and events."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mpquic.host.errors import UsageError
from mpquic.host.history.store import rows

if TYPE_CHECKING:
    import sqlite3

#: Steps that may be chosen by themselves, in minutes, and how many of them a table has at most then.
STEPS = (1, 5, 15, 60, 360, 1440)
_ROWS = 36
_AGO = re.compile(r"(\d{1,6})\s*(s|m|min|h|d|w)")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_EXPECTED = "a time ago such as 90m, 6h or 2d, HH:MM, YYYY-MM-DD or 'YYYY-MM-DD HH:MM'"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: between two moments (Unix seconds), and of what; None for all."""

    since: float
    until: float
    instance: str | None = None
    peer: str | None = None
    path: str | None = None
    traffic_class: str | None = None

    @property
    def step(self) -> int:
        """Return the minutes of one line of a table."""
        minutes = (self.until - self.since) / 60
        return next((step for step in STEPS if minutes / step <= _ROWS), STEPS[-1])


def moment(text: str, now: float) -> float:
    """Return the Unix seconds of a time as people write it, in the host's time zone.

    Raises:
        UsageError: it is none.

    """
    text = text.strip()
    if text == "now":
        return now
    if ago := _AGO.fullmatch(text):
        return now - int(ago[1]) * _UNITS[ago[2]]
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", text):
            hour, minute = map(int, text.split(":"))
            then = (
                datetime.fromtimestamp(now, UTC).astimezone().replace(hour=hour, minute=minute, second=0, microsecond=0)
            )
            return (then if then.timestamp() <= now else then - timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"history: found {text!r}, expected {_EXPECTED}") from None


def figures(connection: sqlite3.Connection, wish: Wish, step: int) -> list[dict[str, Any]]:
    """Return figures by step and series, oldest first.

    ``at`` is when a step begins (Unix seconds), ``kind`` is tunnel, path or class; rtt_ms and loss are means, those
    with ``max`` the worst of any look; up_s, doubt_s (probation, lossy, suspect) and down_s are the seconds in a state.
    """
    where, values = _where(wish, "series.name")
    where += ["minute >= ?", "minute < ?"]
    values += [int(wish.since // 60), -int(-wish.until // 60)]
    if wish.path is not None:
        where.append("kind = 'path'")
    if wish.traffic_class is not None:
        where += ["kind = 'class'", "series.name = ?"]
        values.append(wish.traffic_class)
    query = f"""
        SELECT (minute / {step}) * {step} * 60 AS at, instance, peer, kind, name,
            sum(tx_bytes) AS tx_bytes, sum(rx_bytes) AS rx_bytes, sum(tx_packets) AS tx_packets,
            sum(rx_packets) AS rx_packets, sum(drops) AS drops, avg(rtt_ms) AS rtt_ms, max(rtt_max_ms) AS rtt_max_ms,
            avg(loss) AS loss, max(loss_max) AS loss_max,
            sum(up_s) AS up_s, sum(doubt_s) AS doubt_s, sum(down_s) AS down_s
        FROM minutes JOIN series ON series.id = minutes.series WHERE {" AND ".join(where)}
        GROUP BY minute / {step}, series ORDER BY instance, peer, kind DESC, name, at"""  # noqa: S608 - own words only
    return rows(connection, query, values)


def events(connection: sqlite3.Connection, wish: Wish) -> list[dict[str, Any]]:
    """Return events, oldest first; those of the whole host belong to every tunnel."""
    where, values = _where(wish, "path", whole=True)
    where += ["at >= ?", "at <= ?"]
    values += [wish.since, wish.until]
    columns = "at, kind, instance, peer, path, what, reason"
    return rows(connection, f"SELECT {columns} FROM events WHERE {' AND '.join(where)} ORDER BY at, id", values)  # noqa: S608


def span(connection: sqlite3.Connection) -> tuple[float, float] | None:
    """Return the moments of the first and the last figures that there are, None without any."""
    first, last = connection.execute("SELECT min(minute), max(minute) FROM minutes").fetchone()
    return None if first is None else (first * 60.0, last * 60.0 + 60)


def _where(wish: Wish, path: str, *, whole: bool = False) -> tuple[list[str], list[Any]]:
    terms = {"instance": wish.instance, "peer": wish.peer, path: wish.path}
    none = " OR instance = ''" if whole else ""
    return (
        [f"({column} = ?{none})" for column, value in terms.items() if value is not None],
        [value for value in terms.values() if value is not None],
    )
