# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a running instance to hand over to a new process, and waits for the end of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpquic.io.control import ask

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds for a whole hand-over, and between questions.
WHOLE = 60.0
_PAUSE = 0.1
_STATES = {"none", "running", "failed", "restart", "settling", "done"}
_MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it: ``done``, ``failed``, or ``restart`` where only a restart puts a new process in place."""

    state: str
    reason: str = ""
    version: str = ""


def hand_over(path: Path) -> Outcome:
    """Return what became of the instance behind the control socket ``path``.

    Raises OSError when nobody answers, ValueError when the answer is not that of a daemon.
    """
    answer = ask(path, "handover")
    if str(answer.get("error", "")).startswith("expected a command"):
        return Outcome("restart", "the running release cannot hand over")
    first = found = _progress(answer)
    until = time.monotonic() + WHOLE
    while time.monotonic() < until:
        if found["pid"] != first["pid"]:
            if found["state"] == "done":
                return Outcome("done", version=found["version"])
        elif found["state"] in {"failed", "restart"}:
            return Outcome(found["state"], found["reason"], found["version"])
        time.sleep(_PAUSE)
        found = _progress(ask(path, "progress"))
    return Outcome("failed", f"not done within {WHOLE:.0f} s")


def _progress(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that is what it should be: the daemon has a user of its own, so nothing is taken on trust."""
    if "error" in answer:
        raise ValueError(_text(answer["error"]))
    pid, state = answer.get("pid"), answer.get("state")
    if isinstance(pid, bool) or not isinstance(pid, int) or state not in _STATES:
        raise ValueError("the answer says no process and no state")
    return {"pid": pid, "state": state, "reason": _text(answer.get("reason")), "version": _text(answer.get("version"))}


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(char if char.isprintable() else "?" for char in text[:_MAX_TEXT])
