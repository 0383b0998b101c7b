# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait for what another path carries: as long as the paths differ, within bounds.

    1.25 x (largest - smallest smoothed round trip time) + 40 ms, at most 250 ms

Half of the difference would do if both directions were alike, which nobody knows. The rest is what a packet may have
waited at its sender, in front of one of the paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core.multipath.health import UNUSABLE
from mpquic.core.queue import MAX_AGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpquic.core.multipath.policy import Policy
    from mpquic.core.path import Path

#: Of the spread of the smoothed round trip times.
SPREAD = 1.25
#: Seconds.
MOST = 0.25
#: Seconds. For classes that are spread packet by packet: they wait again and again.
MOST_SPRAYED = 0.05
#: Seconds in which the paths are not looked at again.
_FRESH = 0.05


class Patience:
    """Knows by which paths packets of each class may come, and how these differ."""

    __slots__ = ("_classes", "_found", "_looked", "_paths", "_times")

    def __init__(self, paths: Mapping[int, Path]) -> None:
        """Look at these paths, whatever they are at the time."""
        self._paths = paths
        #: By class: the numbers of the paths that it does not use, and the longest wait.
        self._classes: list[tuple[frozenset[int], float]] = []
        self._looked = 0.0
        #: By number: round trip times of the paths in use (seconds).
        self._times: dict[int, float] = {}
        #: By class: how many of them it has, and how long to wait.
        self._found: dict[int, tuple[int, float]] = {}

    def configure(self, policy: Policy) -> None:
        """Wait for these classes."""
        self._classes = [(frozenset(one.excluded), MOST_SPRAYED if one.spray else MOST) for one in policy.classes]
        self._found.clear()

    @property
    def paths(self) -> int:
        """How many paths were in use at the last look."""
        return len(self._times)

    def hold(self, class_index: int, now: float) -> tuple[int, float]:
        """Return how many paths a class has, and how many seconds to wait for any of them; 0 when there is one."""
        if not self._looked <= now < self._looked + _FRESH:
            self.look(now)
        found = self._found.get(class_index)
        if found is None:
            found = self._found[class_index] = self._find(class_index)
        return found

    def look(self, now: float) -> None:
        """Look at the paths again."""
        self._looked = now
        self._found.clear()
        self._times = {
            number: path.connection.clock.srtt or 0.0
            for number, path in self._paths.items()
            if path.connection is not None and (path.health is None or path.health.rank < UNUSABLE)
        }

    def _find(self, class_index: int) -> tuple[int, float]:
        excluded, most = self._classes[class_index] if class_index < len(self._classes) else (frozenset(), MOST)
        times = [time for number, time in self._times.items() if number not in excluded]
        if len(times) < 2:
            return len(times), 0.0
        return len(times), min(most, SPREAD * (max(times) - min(times)) + MAX_AGE)
