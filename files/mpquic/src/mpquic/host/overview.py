# SPDX-License-Identifier: GPL-3.0-or-later
"""How the instances of this host are, and what is wrong with each: the same for the terminal and for the page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mpquic.io import symptoms
from mpquic.io.answer import read_status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GOOD, UNSURE, BAD = "good", "unsure", "bad"
"""How far a state is from what it should be."""
OLD = 86400.0
"""Seconds after which a fault that is over is told no more."""
_UP = {"up", "listening"}
_UNSURE = {"probation", "lossy", "suspect", "connecting"}


def names(run_dir: Path, instances: Path) -> list[str]:
    """Return the ids of all instances that run or are configured, 2 before 10."""
    found = {path.parent.name for path in run_dir.glob("*/control.sock")}
    found |= {path.stem for path in instances.glob("*.yaml")}
    return sorted(found, key=_natural)


def read(run_dir: Path, name: str) -> dict[str, Any]:
    """Return the status of an instance, with the state ``down`` and a reason where its daemon does not tell it."""
    try:
        return read_status(run_dir / name / "control.sock", name)
    except (FileNotFoundError, ConnectionRefusedError):
        # The socket of a daemon that was killed is still there, and nobody listens.
        return {"id": name, "state": "down", "reason": f"not running (systemctl start mpquic@{name})"}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        return {"id": name, "state": "down", "reason": f"control socket: {reason}"}


def level(state: str) -> str:
    """Return GOOD, UNSURE or BAD for the state of an instance, peer or path."""
    return GOOD if state in _UP else UNSURE if state in _UNSURE else BAD


def faults(entry: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong with an instance, peer or path now: sentences by their codes."""
    if entry["state"] not in _UP:
        return {"down": entry.get("reason") or entry["state"]}
    found = {problem.code: problem.message for problem in symptoms.symptoms(entry)}
    if entry.get("config_refused"):
        found["config"] = "the changed file takes a restart"
    return found


def summary(items: Sequence[dict[str, Any]]) -> str:
    """Return how many instances are up, and what to do about the others."""
    up = sum(item["state"] in _UP for item in items)
    ailing = sum(any(map(faults, [item, *item.get("paths", ())])) for item in items)
    text = f"{up} of {len(items)} up"
    if ailing:
        text += f", {ailing} with faults"
    return text if up == len(items) and not ailing else f"{text}: mpquic doctor says more"


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (sys.maxsize, name)
