# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What hosts recorded: figures of the last day as series, and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report import ends, plain, words

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report.answers import Host

#: Events that are shown of one host.
_EVENTS = 25


@dataclass(frozen=True)
class Step:
    """One step of a series: rates in bit/s (None where nobody counts them), round trips in ms, shares of its time."""

    at: float
    up: float
    down: float | None
    rtt: float | None
    rtt_worst: float | None
    doubt: float
    away: float


@dataclass(frozen=True)
class Series:
    """A tunnel, path or class over time, as the client sees it: ``up`` goes to the VPS. ``step`` is seconds."""

    title: str
    step: float
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Event:
    """Something that happened, in words."""

    at: str
    where: str
    kind: str
    what: str


def of_tunnel(tunnel: ends.Tunnel, client: Host, server: Host) -> list[Series]:
    """Return the series of a tunnel, its paths and classes, as the client recorded them, else as the VPS did."""
    told = _select(client, tunnel.id, {""})
    if told:
        return _series(tunnel, client, told, swapped=False)
    # A VPS names the only client of an instance with its paths, but not with the instance itself.
    told = _select(server, tunnel.far_id, {tunnel.peer} if tunnel.kind == ends.CLASS else {tunnel.peer, ""})
    return _series(tunnel, server, told, swapped=True)


def events(host: Host) -> tuple[list[Event], int]:
    """Return the newest events of a host, newest first, and how many there are."""
    found = plain.entries(host.said("history"), "events")
    return [_event(one) for one in reversed(found[-_EVENTS:])], len(found)


def _select(host: Host, instance: str, peers: set[str]) -> list[plain.Entry]:
    return [one for one in host.figures.get(instance, []) if plain.text(one, "peer") in peers]


def _series(tunnel: ends.Tunnel, host: Host, told: list[plain.Entry], *, swapped: bool) -> list[Series]:
    length = plain.number(host.said("history"), "step_s") or 60.0
    grouped: dict[tuple[str, str], list[Step]] = {}
    for one in told:
        step = _step(one, length, swapped=swapped)
        if step is not None:
            grouped.setdefault((plain.text(one, "kind"), plain.text(one, "name")), []).append(step)
    return [
        Series(_title(tunnel, kind, name), length, tuple(sorted(steps, key=lambda step: step.at)))
        for (kind, name), steps in sorted(grouped.items(), key=lambda item: _order(*item[0]))
    ]


def _order(kind: str, name: str) -> tuple[int, str]:
    return ({"tunnel": 0, "path": 1}.get(kind, 2), name)


def _title(tunnel: ends.Tunnel, kind: str, name: str) -> str:
    return f"{tunnel.title}, {kind} {name}" if name else tunnel.title


def _step(one: plain.Entry, length: float, *, swapped: bool) -> Step | None:
    at = plain.number(one, "at")
    if at is None:
        return None
    states = [plain.number(one, key) or 0.0 for key in ("up_s", "doubt_s", "down_s")]
    known = min(sum(states), length) or length  # the last step is not over, and a class has no state
    sent = _bits(one, "tx_bytes", known)
    # Its daemon counts only what a class sends.
    received = None if plain.text(one, "kind") == "class" else _bits(one, "rx_bytes", known)
    up, down = (received, sent) if swapped else (sent, received)
    return Step(
        at,
        up or 0.0,
        down,
        plain.number(one, "rtt_ms"),
        plain.number(one, "rtt_max_ms"),
        states[1] / known,
        states[2] / known,
    )


def _bits(one: plain.Entry, key: str, seconds: float) -> float:
    return (plain.number(one, key) or 0.0) * 8 / seconds


def _event(one: plain.Entry) -> Event:
    names = [("tunnel", "instance"), ("", "peer"), ("path", "path")]
    where = [f"{word} {plain.text(one, key)}".strip() for word, key in names if plain.text(one, key)]
    said = [plain.text(one, key) for key in ("what", "reason")]
    return Event(
        words.moment(plain.number(one, "at")),
        ", ".join(where) or "host",
        plain.text(one, "kind").replace("_", " "),
        ": ".join(filter(None, said)),
    )
