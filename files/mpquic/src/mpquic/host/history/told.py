# SPDX-License-Identifier: GPL-3.0-or-later
"""What other programs of this host say that they did: repairs of the watch, and going back by the guard."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from mpquic.host import watch
from mpquic.host.errors import HostError
from mpquic.host.guard import store
from mpquic.host.history.changes import Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS = ("drift", "guard")


class Told:
    """Tells each of it once. ``until`` is, for each kind, until when (Unix seconds) it was told."""

    def __init__(self, file: Path, until: dict[str, float]) -> None:
        """Read what the watch did from ``file``."""
        self._file = file
        self.until = {kind: until.get(kind, 0.0) for kind in KINDS}

    def fresh(self) -> Iterator[Event]:
        """Yield what was not told so far."""
        for event in sorted((*_repairs(self._file), *_restores()), key=lambda event: event.at):
            if event.at > self.until[event.kind]:
                self.until[event.kind] = event.at
                yield event


def _repairs(file: Path) -> Iterator[Event]:
    for repair in watch.told(file).get("repairs", ()):
        try:
            message = f"{repair['code']}: {repair['message']}"
            yield Event(float(repair["at"]), "drift", "repaired", message, str(repair["tunnel"] or ""))
        except (KeyError, TypeError, ValueError):
            continue


def _restores() -> Iterator[Event]:
    try:
        last: dict[str, Any] = store.read(store.LAST) or {}
        at = datetime.fromisoformat(str(last["at"])).timestamp()
        reason = f"{last['reason']}; {len(last['undone'])} changes undone"
    except (HostError, OSError, KeyError, TypeError, ValueError):
        return
    yield Event(at, "guard", "went back to an earlier state", reason)
