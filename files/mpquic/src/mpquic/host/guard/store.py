# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guard keeps on disk, readable by root alone: whether it is armed, the snapshot, the last restore."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mpquic.host.errors import HostError

FOLDER = Path("/var/lib/mpquic/guard")
ARMED = "armed.json"
SNAPSHOT = "snapshot.json"
LAST = "last.json"


def read(name: str) -> dict[str, Any] | None:
    """Return what is kept under a name, None when nothing is.

    Raises:
        HostError: it is damaged.

    """
    path = FOLDER / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HostError(f"{path}: found a damaged file, expected one of the guard")
    return found


def write(name: str, value: dict[str, Any]) -> None:
    """Keep a value; it is on disk when this returns, whole, or the old one still is."""
    FOLDER.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    path = FOLDER / name
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(value, stream)
        stream.flush()
        os.fsync(descriptor)
    new.replace(path)
    folder = os.open(FOLDER, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(name: str) -> None:
    """Forget a value."""
    (FOLDER / name).unlink(missing_ok=True)
