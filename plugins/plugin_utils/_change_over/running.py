# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The instances that a host has, read from what its role brought."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Of a file that is not there.
_NONE = "-"


def running_instances(lines: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the instances of a host by their id.

    Each line has the id, the modes and owners of the instance's YAML and environment file, and their contents in
    base64; ``-`` stands for a file that is not there. Each instance has ``config`` (empty where nobody can read it),
    ``yaml``, ``env`` and ``mode``.
    """
    found = {}
    for line in lines:
        name, mode, *contents = line.split()
        text, env = ("" if raw == _NONE else base64.b64decode(raw).decode(errors="replace") for raw in contents)
        found[name] = {"config": _mapping(text), "yaml": text, "env": env, "mode": mode}
    return found


def _mapping(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
