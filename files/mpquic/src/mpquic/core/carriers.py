# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of several peers gets a packet to a prefix that they own together: the one that carried its flow last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core.flows import FlowMemory, packet
from mpquic.core.roster import Shared

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mpquic.core.roster import Roster
    from mpquic.core.types import Frame

_IPV4 = 4


class Carriers:
    """Remembers flows for each set of members that share prefixes."""

    def __init__(self, roster: Roster) -> None:
        """Take the members."""
        self._roster = roster
        #: By the name of these together.
        self._flows: dict[str, FlowMemory] = {}
        self.configure(roster)

    def configure(self, roster: Roster) -> None:
        """Take the members there are from now on."""
        self._roster = roster
        self._flows = {name: self._flows.get(name) or FlowMemory() for name in roster.shared}

    def sort(
        self, name: str, reads: Sequence[bytes], at: int, up: Collection[str], now: float
    ) -> dict[str, list[bytes]]:
        """Return reads of the TUN by the member to which each goes, of the set ``name``; ``up`` are those that are up.

        What nobody carried, or who carried it is not up, goes to the first that is. A packet begins at ``at``.
        """
        flows, owners = self._flows[name], self._roster.shared[name].owners
        first = next((owner.name for owner in owners if owner.name in up), owners[0].name)
        batches: dict[str, list[bytes]] = {}
        for read in reads:
            carrier = flows.carrier(read, at, now)
            batches.setdefault(carrier if carrier is not None and carrier in up else first, []).append(read)
        return batches

    def learn(self, name: str, frames: Sequence[Frame], at: int, now: float) -> None:
        """Remember which flows a member carries, out of what is about to be written to the TUN."""
        owner = self._roster.table.owner
        for frame in frames:
            data = packet(frame, at)
            found = owner(data[at + 12 : at + 16] if data[at] >> 4 == _IPV4 else data[at + 8 : at + 24])
            if isinstance(found, Shared):
                self._flows[found.name].learn(data, at, name, now)
