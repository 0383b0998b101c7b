# SPDX-License-Identifier: GPL-3.0-or-later
"""When a sick instance may be restarted again: what a timed recovery remembers from one run to the next.

It lies under /run, so a boot forgets it. Times are seconds of the clock that counts from boot, sleep included, and that
nobody sets. What is kept is not trusted: bad content is as good as none, and no wait is longer than the longest.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.host import lock
from mpquic.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

FIRST, LONGEST = 60.0, 1800.0
"""Seconds from one restart of a sick instance to the next: at first, doubled each time, and at most."""
#: Restarts that are told apart; bytes of a file that is read.
_MOST = 64
_SIZE = 65536
_FILE, _LOCK = "restarts.json", "lock"


def now() -> float:
    """Return the seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often in a row an instance was restarted in vain, and until when it is left alone (seconds since boot)."""

    count: int
    until: float


class Ledger:
    """The restarts of all instances, in a file of a folder."""

    def __init__(self, folder: Path, moment: float) -> None:
        """Read what is there at a moment (seconds since boot)."""
        self._folder = folder
        self._moment = moment
        self._entries = dict(self._read())

    def restarts(self, instance_id: str) -> int:
        """Return how often in a row an instance was restarted without being found healthy since."""
        entry = self._entries.get(instance_id)
        return entry.count if entry is not None else 0

    def wait(self, instance_id: str) -> float:
        """Return the seconds until an instance may be restarted, 0 for now."""
        entry = self._entries.get(instance_id)
        return max(0.0, entry.until - self._moment) if entry is not None else 0.0

    def restarted(self, instance_id: str) -> None:
        """Note that an instance was restarted just now."""
        count = min(self.restarts(instance_id) + 1, _MOST)
        self._entries[instance_id] = Restarts(count, self._moment + min(FIRST * 2.0 ** (count - 1), LONGEST))

    def healthy(self, instance_id: str) -> None:
        """Note that an instance is healthy without having been touched."""
        self._entries.pop(instance_id, None)

    def save(self, known: Collection[str]) -> None:
        """Keep what concerns these instances. Raises OSError."""
        kept = {name: [entry.count, entry.until] for name, entry in self._entries.items() if name in known}
        new = self._folder / f"{_FILE}.new"
        new.write_text(json.dumps(kept), encoding="utf-8")
        new.replace(self._folder / _FILE)

    def _read(self) -> Iterator[tuple[str, Restarts]]:
        try:
            with (self._folder / _FILE).open("rb") as file:
                found = json.loads(file.read(_SIZE))
        except (OSError, ValueError, RecursionError):
            return
        if not isinstance(found, dict):
            return
        for name, entry in found.items():
            match entry:
                case [int(count), int() | float() as until] if 1 <= count <= _MOST and until <= self._moment + LONGEST:
                    yield name, Restarts(count, until)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Tell whether this is the only recovery that uses the folder, which is made if it is missing.

    Raises:
        HostError: the folder cannot be used.

    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
            held = stack.enter_context(lock.attempt(folder / _LOCK))
        except OSError as error:
            raise HostError(
                f"{folder}: {error.strerror}, expected a folder of root's to remember restarts in"
            ) from error
        yield held
