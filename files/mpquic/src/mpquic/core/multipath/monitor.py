# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches the paths of one tunnel: asks, judges, and tells the peer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.multipath.health import Transition
    from mpquic.core.path import Path


class Monitor:
    """Judges every path that was added, by acknowledgements alone and by what the peer says."""

    def __init__(self, now: float, *, asks: bool) -> None:
        """Start without paths. ``asks``: this end, the client, sends pings by idle paths.

        Both ends send pings by paths in doubt.
        """
        self._now = now
        self._asks = asks
        #: Rises whenever a rank or the number of a path's failures changed.
        self.generation = 0

    def add(self, path: Path) -> None:
        """Judge this path from now on; its health is CONNECTING. Another path of the same number is replaced."""
        raise NotImplementedError

    def remove(self, path: Path) -> None:
        """Forget this path, whatever its state."""
        raise NotImplementedError

    def restart(self, now: float) -> None:
        """Forget what the peer said: it began anew."""
        raise NotImplementedError

    def connected(self, path: Path, now: float) -> None:
        """Note that ``path.connection`` is set, for the first time, after a failure or in place of another."""
        raise NotImplementedError

    def lost(self, path: Path, reason: str, now: float) -> None:
        """Note that the path's connection ends or an attempt at one failed."""
        raise NotImplementedError

    def hear(self, path: Path, payload: bytes, now: float) -> None:
        """Take a payload of context 4 that came by ``path``. Malformed and outdated ones are ignored."""
        raise NotImplementedError

    def fire(self, now: float) -> None:
        """Judge and ask. Afterwards touched() says what is to be flushed."""
        raise NotImplementedError

    def deadline(self) -> float:
        """Return when fire() must be called next, infinity for never. Ask after every event: traffic changes it."""
        return math.inf

    def touched(self) -> list[Path]:
        """Return the paths that have something to flush since the last call: a ping or a report."""
        raise NotImplementedError

    def changes(self) -> list[Transition]:
        """Return the transitions since the last call, in order."""
        raise NotImplementedError
