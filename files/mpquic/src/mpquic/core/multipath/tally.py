# SPDX-License-Identifier: GPL-3.0-or-later
"""What each class of a tunnel's traffic has carried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpquic.core import wire

if TYPE_CHECKING:
    from collections.abc import Collection

    from mpquic.core.multipath.policy import Policy, Scheduling
    from mpquic.core.path import Path


@dataclass(slots=True)
class Share:
    """What of one class was given to one path, and what it brought: every copy counts."""

    tx_packets: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    rx_bytes: int = 0


@dataclass(slots=True)
class ClassCounters:
    """One class. Packets and bytes are those of the TUN; copies are counted apart."""

    name: str
    scheduling: Scheduling
    tx_packets: int = 0
    tx_bytes: int = 0
    #: Packets for which there was no path.
    tx_err: int = 0
    #: Copies that were sent in addition.
    tx_dups: int = 0
    rx_packets: int = 0
    #: Packets that came again, by another path.
    rx_dups: int = 0
    #: What each path had of it.
    shares: dict[Path, Share] = field(default_factory=dict)

    def share(self, path: Path) -> Share:
        """Return what to count in for a path."""
        share = self.shares.get(path)
        if share is None:
            share = self.shares[path] = Share()
        return share


class Tally:
    """The counters of all classes, by their index in the policy."""

    def __init__(self) -> None:
        """Start without a class."""
        self._count = 0
        #: By index, as many as there may be: what its sender knows and this end does not (yet) is counted, too.
        self.by_index = _nobody()

    @property
    def classes(self) -> list[ClassCounters]:
        """The classes of the policy."""
        return self.by_index[: self._count]

    def configure(self, policy: Policy, paths: Collection[Path]) -> None:
        """Count for these classes; those that had the same name before go on. Forget other paths than these."""
        known = {counters.name: counters for counters in self.classes}
        self.by_index = _nobody()
        self._count = len(policy.classes)
        for index, one in enumerate(policy.classes):
            counters = self.by_index[index] = known.get(one.name) or ClassCounters(one.name, one.scheduling)
            counters.scheduling = one.scheduling
            for path in counters.shares.keys() - set(paths):
                del counters.shares[path]


def _nobody() -> list[ClassCounters]:
    return [ClassCounters("", "priority") for _index in range(wire.SEQUENCED_CLASS + 1)]
