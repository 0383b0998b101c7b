# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. One change of a host, and how its values are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Kinds of changes. A remap is `WAN` alone, with the rates that follow from it.
ADDED, REMOVED, WAN, RATE, OTHER = "added", "removed", "wan", "rate", "other"

#: Of a file that somebody else has written.
UNREADABLE = "what the host has is nothing of ours, and is written anew"

Config = Mapping[str, Any]
Change = dict[str, str]


def change(name: str, kind: str, where: str, text: str) -> Change:
    """Return a change of the tunnel, or the file, of this name."""
    return {"tunnel": name, "kind": kind, "text": f"{where}: {text}"}


def step(key: str, before: Any, after: Any) -> str:
    """Return how a value changes: lists by what goes and comes, others by before and after."""
    if (
        isinstance(before, list)
        and isinstance(after, list)
        and not any(isinstance(one, dict) for one in before + after)
    ):
        gone = [f"-{text(one)}" for one in before if one not in after]
        come = [f"+{text(one)}" for one in after if one not in before]
        if gone or come:
            return f"{key} {' '.join([*gone, *come])}"
    return f"{key} {text(before)} -> {text(after)}"


def text(value: Any) -> str:
    """Return a value as the inventory has it."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(text, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
