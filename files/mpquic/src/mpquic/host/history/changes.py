# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened between two looks at a daemon, as events, with the time at which it did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mpquic.host.history.figures import DOUBT
from mpquic.io.symptoms import cause

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds by which two answers about the same moment may differ.
_SLACK = 1.0
_SILENT = "down"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``at`` is Unix seconds, ``kind`` one of those in docs/history.md; the texts are for people."""

    at: float
    kind: str
    what: str
    reason: str = ""
    instance: str = ""
    peer: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class _State:
    """A tunnel (path ``""``) or path: ``began`` is when its state did, in seconds since boot.

    ``causes`` are those that were told of this state: why a path is down often shows later than that it is.
    """

    state: str
    reason: str
    began: float
    switches: int
    causes: frozenset[str] = frozenset()


class Changes:
    """Remembers how the daemons were. ``heard`` is until when (Unix seconds) they were looked at before, if ever."""

    def __init__(self, heard: float | None) -> None:
        """Start; what began after ``heard`` is told at the first look."""
        self._heard = heard
        self._states: dict[tuple[str, str, str], _State] = {}
        self._runs: dict[str, tuple[int | None, str, str | None]] = {}

    def look(self, name: str, status: dict[str, Any] | None, now: float, boot: float) -> Iterator[Event]:
        """Yield what happened to an instance, whose status is None when it gives no answer.

        ``now`` is Unix seconds, ``boot`` seconds since boot.
        """
        if status is None:
            yield from self._silence(name, now, boot)
            return
        yield from self._run(name, status, now)
        found = dict(_states(name, status, boot))
        for key, state in found.items():
            before = self._states.get(key)
            events = [*self._compare(key, before, state, now, boot)]
            yield from events
            same = before is not None and not any(event.kind != "switch" for event in events)
            causes = before.causes if before is not None and same else frozenset()
            why = cause(state.reason) if state.state != "up" else None
            if same and why is not None and why not in causes:
                yield Event(now, _kind(state.state, key[2]), state.state, state.reason, *key)
            found[key] = replace(state, causes=causes | {why} if why is not None else causes)
        gone = [key for key in self._states if key[0] == name and key not in found]
        for key in gone:
            del self._states[key]
        self._states |= found

    def keep(self, instances: set[str]) -> None:
        """Forget instances that are no more."""
        self._states = {key: state for key, state in self._states.items() if key[0] in instances}
        self._runs = {name: run for name, run in self._runs.items() if name in instances}

    def _silence(self, name: str, now: float, boot: float) -> Iterator[Event]:
        key = (name, "", "")
        before = self._states.get(key)
        if before is None or before.reason != "no answer":
            if before is not None or self._heard is None:
                yield Event(now, "tunnel_down", "down", "the daemon gives no answer", name)
            self._states = {found: state for found, state in self._states.items() if found[0] != name}
            self._states[key] = _State(_SILENT, "no answer", boot, 0)

    def _run(self, name: str, status: dict[str, Any], now: float) -> Iterator[Event]:
        run = (status.get("pid"), str(status.get("config", "")), status.get("config_refused"))
        before = self._runs.get(name)
        self._runs[name] = run
        if before is None:
            return
        if run[0] != before[0]:
            yield Event(now, "restart", "another process", f"pid {before[0]} -> {run[0]}", name)
        if run[1] != before[1]:
            yield Event(now, "reload", "another configuration", f"{before[1][:12]} -> {run[1][:12]}", name)
        if run[2] is not None and run[2] != before[2]:
            yield Event(now, "refused", "configuration refused", run[2], name)

    def _compare(
        self, key: tuple[str, str, str], before: _State | None, state: _State, now: float, boot: float
    ) -> Iterator[Event]:
        name, peer, path = key
        at = now - (boot - state.began)
        if before is None:
            told = self._heard is None or at > self._heard
        else:
            told = state.state != before.state or state.began > before.began + _SLACK
        if told:
            yield Event(at, _kind(state.state, path), state.state, state.reason, name, peer, path)
        fell = state.switches - before.switches if before is not None else 0
        # One that is seen is told already.
        fell -= before is not None and before.state == "up" and state.state != "up"
        if path and fell > 0:
            times = "once" if fell == 1 else f"{fell} times"
            yield Event(now, "switch", f"left {times} and taken again", state.reason, name, peer, path)


def _kind(state: str, path: str) -> str:
    if path:
        return "path_up" if state == "up" else "path_doubt" if state in DOUBT else "path_down"
    return "tunnel_up" if state == "up" else "tunnel_down"


def _states(name: str, status: dict[str, Any], boot: float) -> Iterator[tuple[tuple[str, str, str], _State]]:
    for peer, end in (("", status), *((found["name"], found) for found in status.get("peers", ()))):
        if not peer or len(status["peers"]) > 1:
            yield (name, peer, ""), _State(end["state"], end["reason"], boot - end["since_s"], 0)
        for path in end.get("paths", ()):
            state = _State(path["state"], path["reason"], boot - path["since_s"], path["switches"])
            yield (name, peer, path["name"]), state
