# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with connections that are up, and with the host, as events: one when it begins, one when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.host import watch
from mpquic.host.history.changes import Event
from mpquic.host.history.figures import DOUBT
from mpquic.io.symptoms import symptoms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Seconds without it after which a fault is over, so that one that comes and goes is told once.
OVER = 60.0


class Faults:
    """Remembers what was wrong."""

    def __init__(self) -> None:
        """Start with nothing wrong."""
        #: When it was seen last (seconds since boot), by instance, peer, path and code.
        self._seen: dict[tuple[str, str, str, str], float] = {}
        self._unrepaired: set[tuple[str, str]] = set()

    def look(self, name: str, status: dict[str, Any], now: float, boot: float) -> Iterator[Event]:
        """Yield what began and what ended at an instance. ``now`` is Unix seconds, ``boot`` seconds since boot."""
        for peer, path, entry in _carrying(status):
            for code, message in symptoms(entry):
                key = (name, peer, path, code)
                if key not in self._seen:
                    yield Event(now, "fault", code, message, name, peer, path)
                self._seen[key] = boot
        for key, seen in [*self._seen.items()]:
            if key[0] == name and boot - seen > OVER:
                del self._seen[key]
                yield Event(now - (boot - seen), "fault_over", key[3], "", *key[:3])

    def drift(self, file: Path, now: float) -> Iterator[Event]:
        """Yield what the watch, which writes ``file``, newly found and could not repair."""
        found = {
            (str(entry.get("tunnel") or ""), f"{entry.get('code')}: {entry.get('message')}")
            for entry in watch.told(file).get("remaining", ())
        }
        for tunnel, message in sorted(found - self._unrepaired):
            yield Event(now, "drift", "not repaired", message, tunnel)
        self._unrepaired = found

    def keep(self, instances: set[str]) -> None:
        """Forget instances that are no more, or give no answer."""
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] in instances}


def _carrying(status: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the peer, the path and the entry of each connection that carries packets."""
    for peer, end in (("", status), *((found["name"], found) for found in status.get("peers", ()))):
        if end["state"] == "up":
            yield peer, "", end
        for path in end.get("paths", ()):
            if path["state"] == "up" or path["state"] in DOUBT:
                yield peer, path["name"], path
