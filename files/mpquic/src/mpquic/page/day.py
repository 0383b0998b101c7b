# SPDX-License-Identifier: GPL-3.0-or-later
"""The last 24 hours of every tunnel, path and class, and what happened, out of the history."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from mpquic.host import overview
from mpquic.host.errors import HostError
from mpquic.host.history import query, store
from mpquic.page.names import node

if TYPE_CHECKING:
    from pathlib import Path

HOURS, STEP = 24, 15
"""How long a day is, and the minutes of one step of it."""
#: Events that are shown, the newest, and lines.
_EVENTS, _LINES = 200, 1000
_SPAN = HOURS * 3600
_LEVELS = {"up": overview.GOOD, "doubt": overview.UNSURE, "down": overview.BAD, "refused": overview.BAD}


def read(file: Path, now: float) -> dict[str, Any]:
    """Return the figures of the day that ends ``now`` (Unix seconds), by steps; without any, ``why``.

    Each line has a value for every step from ``since`` on: ``level`` is what most harmed it (None where nothing was
    recorded), rates are bits per second, of a class only those sent.
    """
    step = STEP * 60
    last = int(now // step)
    since = (last + 1) * step - _SPAN
    result = {"since": since, "step_s": step, "steps": _SPAN // step, "lines": [], "why": ""}
    try:
        with store.reading(file) as connection:
            rows = query.figures(connection, query.Wish(since, now), STEP)
    except HostError as error:
        return result | {"why": str(error)}
    series = groupby(rows, key=lambda row: (row["instance"], row["peer"], row["kind"], row["name"]))
    lines = [_line(key, list(found), since, step) for key, found in series]
    return result | {"lines": lines[:_LINES], "why": "" if lines else "nothing was recorded in the last 24 hours"}


def events(file: Path, now: float) -> dict[str, Any]:
    """Return what happened in the day that ends ``now``, newest first; when it cannot be read, ``why``."""
    try:
        with store.reading(file) as connection:
            found = query.events(connection, query.Wish(now - _SPAN, now + 60))
    except HostError as error:
        return {"events": [], "more": 0, "why": str(error)}
    told = [event | {"level": _LEVELS.get(event["kind"].rpartition("_")[2], "")} for event in found[-_EVENTS:]]
    return {"events": told[::-1], "more": max(0, len(found) - _EVENTS), "why": ""}


def _line(key: tuple[str, str, str, str], rows: list[dict[str, Any]], since: int, step: int) -> dict[str, Any]:
    instance, peer, kind, name = key
    count = _SPAN // step
    values: dict[str, list[Any]] = {word: [None] * count for word in ("level", "tx", "rx", "rtt", "loss")}
    for row in rows:
        at = (row["at"] - since) // step
        if 0 <= at < count:
            values["level"][at] = _level(row)
            values["tx"][at] = row["tx_bytes"] * 8 // step
            values["rx"][at] = row["rx_bytes"] * 8 // step
            values["rtt"][at] = _rounded(row["rtt_ms"], 1)
            values["loss"][at] = _rounded(row["loss"], 4)
    worst = [row["loss_max"] for row in rows if row["loss_max"] is not None]
    slowest = [row["rtt_max_ms"] for row in rows if row["rtt_max_ms"] is not None]
    return {
        "id": node(kind, instance, peer, name),
        "kind": kind,
        "name": name or peer or instance,
        "of": instance if name or peer else "",
        **values,
        "down_s": round(sum(row["down_s"] for row in rows)),
        "doubt_s": round(sum(row["doubt_s"] for row in rows)),
        "loss_max": _rounded(max(worst, default=None), 4),
        "rtt_max": _rounded(max(slowest, default=None), 1),
    }


def _level(row: dict[str, Any]) -> str | None:
    """Return what a step was: half a second is less than a look of the recorder may be wrong."""
    if row["down_s"] >= 0.5:
        return overview.BAD
    if row["doubt_s"] >= 0.5:
        return overview.UNSURE
    return overview.GOOD if row["up_s"] > 0 or row["kind"] == "class" else None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
