# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait for what another path carries: as long as the paths differ, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpquic.core.path import Path

#: Of the spread of the smoothed round trip times. Half of it would be the difference of one-way delays if both
#: directions were alike, which nobody knows.
SPREAD = 1.25
#: Seconds. For flows that were moved: a wait that is too short reorders them.
LEAST, MOST = 0.02, 0.25
#: Seconds. For classes that are spread packet by packet: every loss makes them wait.
MOST_SPRAYED = 0.05
#: Rank of a path that cannot be used (see mpquic.core.multipath.health).
_UNUSABLE = 4
#: Seconds in which the paths are not looked at again.
_FRESH = 0.05


class Patience:
    """Knows the spread of some paths."""

    __slots__ = ("_looked", "_paths", "_spread", "paths", "sprayed")

    def __init__(self, paths: Mapping[int, Path]) -> None:
        """Look at these paths, whatever they are at the time."""
        self._paths = paths
        self._spread = 0.0
        #: How many were in use at the last look.
        self.paths = 0
        self._looked = 0.0
        #: The indices of the classes that are spread packet by packet.
        self.sprayed: frozenset[int] = frozenset()

    def hold(self, class_index: int, now: float) -> float:
        """Return the seconds to wait, 0 when less than two paths are in use."""
        if not self._looked <= now < self._looked + _FRESH:
            self.look(now)
        if self.paths < 2:
            return 0.0
        most = MOST_SPRAYED if class_index in self.sprayed else MOST
        return max(LEAST, min(most, SPREAD * self._spread))

    def look(self, now: float) -> None:
        """Look at the paths again."""
        self._looked = now
        times = [
            path.connection.clock.srtt or 0.0
            for path in self._paths.values()
            if path.connection is not None and (path.health is None or path.health.rank < _UNUSABLE)
        ]
        self.paths = len(times)
        self._spread = max(times, default=0.0) - min(times, default=0.0)
