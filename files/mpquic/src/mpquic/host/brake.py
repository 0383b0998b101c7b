# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a repair from being done again and again when another program undoes it each time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

#: Repairs of one thing that are free before it pauses, then the first pause and the longest (seconds).
FREE = 5
FIRST = 1.0
LONGEST = 60.0
#: Seconds without a repair after which a thing has a clean slate; at least twice its pause.
CALM = 60.0


@dataclass(slots=True)
class _Fight:
    count: int
    last: float
    pause: float


class Brake:
    """Counts repairs of things; a thing is whatever the caller calls it."""

    def __init__(self) -> None:
        """Nothing has been repaired yet."""
        self._fights: dict[Hashable, _Fight] = {}

    def allows(self, thing: Hashable, now: float) -> bool:
        """Tell whether a thing may be repaired now."""
        return self.until(thing) <= now

    def until(self, thing: Hashable) -> float:
        """Return from when on a thing may be repaired."""
        fight = self._fights.get(thing)
        return fight.last + fight.pause if fight is not None else 0.0

    def repaired(self, thing: Hashable, now: float) -> float | None:
        """Count a repair, done or tried; return the pause (seconds) after it if that is a new or longer one."""
        self._forget(now)
        fight = self._fights.setdefault(thing, _Fight(0, now, 0.0))
        fight.count += 1
        fight.last = now
        if fight.count < FREE:
            return None
        before, fight.pause = fight.pause, min(LONGEST, max(FIRST, fight.pause * 2))
        return fight.pause if fight.pause > before else None

    def next(self, now: float) -> float | None:
        """Return when the first thing that pauses may be repaired again, None when nothing pauses."""
        return min((end for thing in self._fights if (end := self.until(thing)) > now), default=None)

    def _forget(self, now: float) -> None:
        calm = [thing for thing, fight in self._fights.items() if now - fight.last > max(CALM, 2 * fight.pause)]
        for thing in calm:
            del self._fights[thing]
