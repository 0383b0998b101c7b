# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings about tunnels: what `mpquic.host.health` says of each, and its daemon of its paths."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mpquic.host import wans
from mpquic.host.doctor.finding import Finding, Level, finding
from mpquic.io.symptoms import LOSS, LOST, cause, symptoms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mpquic.host.echo import Echo
    from mpquic.host.health import Tunnel
    from mpquic.host.instances import Instance

#: What follows from another fault of the same tunnel, and is not told beside one.
_FOLLOWS = {"no_reply", "not_up", "no_answer"}
#: What concerns the host, and is told of every tunnel.
COMMON = {"nft_missing", "nft_differs", "setting_wrong", "unit_differs"}
#: Codes that only say that nothing crosses: the daemon's reason says more.
_VAGUE = {"no_reply", "not_up", "path_down"}
_DOWN = {"down", "connecting", "suspect"}
_BACK = {"probation"}
#: Falls of a path in the time that its daemon runs, per hour, from which on it is unsteady; and at least so many.
_FALLS_PER_HOUR, _LEAST_FALLS = 6.0, 3
#: Seconds for which a fault that is over, and a refusal, are told.
_RECENT = 3600.0
_JUST_NOW = 300.0


def findings(tunnel: Tunnel, daemon: dict[str, Any] | None, echo: Echo | None) -> list[Finding]:
    """Return what is wrong with a tunnel; ``daemon`` is its status as it is now, ``echo`` what many probes said."""
    found = list(_reasons(tunnel, daemon))
    if daemon is not None:
        found += _status(tunnel.instance, daemon, echo)
    # Health and the daemon may say the same: once is enough.
    found = list({(one.where, one.code): one for one in reversed(found)}.values())[::-1]
    severe = [one for one in found if one.level is Level.FAIL and one.code not in _FOLLOWS]
    return [one for one in found if not (severe and one.code in _FOLLOWS and one.where == severe[0].where)]


def _reasons(tunnel: Tunnel, daemon: dict[str, Any] | None) -> Iterator[Finding]:
    """Yield what health says, by its cause where the daemon knows it."""
    instance = tunnel.instance
    known_paths = wans.told(instance, daemon)
    for problem in tunnel.reasons:
        if problem.code in COMMON or (problem.code == "path_down" and known_paths):
            continue
        code = problem.code
        if code in _VAGUE and daemon is not None and daemon.get("state") != "up":
            code = cause(str(daemon.get("reason"))) or code
        yield finding(_where(instance), code, problem.message, **_names(instance))


def _status(instance: Instance, daemon: dict[str, Any], echo: Echo | None) -> Iterator[Finding]:
    where = _where(instance)
    ends = [(where, daemon)]
    if instance.many and len(daemon.get("peers", ())) > 1:
        ends += [(f"{where}, peer {peer['name']}", peer) for peer in daemon["peers"]]
    elif daemon.get("peers"):
        ends = [(where, daemon | {key: daemon["peers"][0].get(key) for key in ("recent", "paths", "datagram")})]
    lossy = False
    for place, end in ends:
        for told in _end(instance, place, end, daemon):
            lossy = lossy or told.code == "loss"
            yield told
    lost = echo.sent - len(echo.rtt_ms) if echo is not None else 0
    if echo is not None and echo.crossed and not lossy and lost >= LOST and echo.loss >= LOSS:
        message = f"{lost} of {echo.sent} echo requests to {instance.peer} got no reply"
        yield finding(where, "loss", message, **_names(instance))
    yield from _refused(instance, daemon)
    if daemon.get("config_refused"):
        message = f"{instance.id}.yaml has changed in what only a restart takes over"
        yield finding(where, "config_refused", message, **_names(instance))


def _end(instance: Instance, where: str, end: dict[str, Any], daemon: dict[str, Any]) -> Iterator[Finding]:
    if end.get("state") == "up":
        for code, message in symptoms(end):
            yield finding(where, code, message, **_names(instance))
    last = end.get("last_fault")
    if end.get("state") == "up" and last is not None and last["ago_s"] < _RECENT:
        yield finding(where, "last_fault", f"{_ago(last['ago_s'])}: {last['reason']}", **_names(instance))
    for path in end.get("paths") or ():
        yield from _path(instance, f"{where}, path {path['name']}", path, daemon)


def _path(instance: Instance, where: str, path: dict[str, Any], daemon: dict[str, Any]) -> Iterator[Finding]:
    names = _names(instance) | {"wan": _wan(instance, path)}
    state, reason = path["state"], str(path.get("reason"))
    if state in _DOWN:
        yield finding(where, cause(reason) or "path_down", f"{state} for {path['since_s']:.0f} s: {reason}", **names)
        return
    lossy = False
    for code, message in symptoms(path):
        lossy = lossy or code == "loss"
        yield finding(where, code, message, **names)
    if state == "lossy" and not lossy:
        yield finding(where, "loss", reason, **names)
    hours = max(1.0, (time.time() - daemon.get("started_at", time.time())) / 3600)
    if path["switches"] >= max(_LEAST_FALLS, _FALLS_PER_HOUR * hours):
        yield finding(where, "path_unsteady", f"fell {path['switches']} times since its daemon started", **names)
    elif (last := path.get("last_fault")) is not None and last["ago_s"] < _RECENT:
        yield finding(where, "last_fault", f"{_ago(last['ago_s'])}: {last['reason']}", **names)


def _refused(instance: Instance, daemon: dict[str, Any]) -> Iterator[Finding]:
    """Yield who was not let in: of no weight as long as all peers are there."""
    last = daemon.get("last_refused")
    if last is None or last["ago_s"] > _JUST_NOW:
        return
    told = finding(_where(instance), "refused", f"{_ago(last['ago_s'])}: {last['reason']}", **_names(instance))
    away = any(peer["state"] != "up" for peer in daemon.get("peers", ()))
    if away and cause(last["reason"]) == "wrong_key":
        yield finding(_where(instance), "wrong_key", told.message, **_names(instance))
    else:
        yield told if away else replace(told, level=Level.NOTE)


def _where(instance: Instance) -> str:
    return f"tunnel {instance.id}"


def _names(instance: Instance) -> dict[str, str]:
    return {"id": instance.id, "wan": instance.where or "WAN"}


def _wan(instance: Instance, path: dict[str, Any]) -> str:
    name = path["name"].partition("/")[0]
    found = (one.wan or one.wan_address for one in instance.paths if one.name == name)
    return next(found, None) or instance.where or "WAN"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def sorted_by_weight(found: Sequence[Finding]) -> list[Finding]:
    """Return findings, those that stop packets first."""
    order = list(Level)
    return sorted(found, key=lambda one: order.index(one.level))
