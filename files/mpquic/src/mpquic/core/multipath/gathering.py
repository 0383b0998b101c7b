# SPDX-License-Identifier: GPL-3.0-or-later
"""What the connections of one start of a client have in common at a server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mpquic.core.messages import ID_LENGTH
from mpquic.core.multipath import policy_wire
from mpquic.core.multipath.bundle import Bundle
from mpquic.core.queue import CAPACITY_OCTETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpquic.core.multipath.policy import PathSpec, Policy
    from mpquic.core.path import Path
    from mpquic.core.types import Counters, Frame

    #: Makes a path, or makes the one that there is what it is to be now; how many bytes of each class may wait on it.
    MakePath = Callable[[PathSpec, Path | None, int], Path]

#: Bytes that may wait of each class on each path, at least. All paths together have what one has without others.
LEAST_CAPACITY = 64_000


class Gathering:
    """Connections that said JOIN with the same session id.

    It costs next to nothing until one of them is confirmed: whoever only asks takes no memory.
    """

    def __init__(self) -> None:
        """Begin without a connection."""
        #: What tells this end of the tunnel from all others there ever were.
        self.epoch = os.urandom(ID_LENGTH)
        self.paths: dict[int, Path] = {}
        self.bundle: Bundle | None = None
        #: Another one took its place.
        self.over = False
        #: How packets are spread, the newest there is; None until a connection is confirmed.
        self.policy: Policy | None = None
        self._said = b""
        #: Generation of the newest policy for which a connection was ended.
        self.refused = 0

    def news(self, said: bytes) -> Policy | None:
        """Return the policy that these bytes say, None when something as new is known. Raises ProtocolError.

        All paths of a client say the same: it is read once.
        """
        known = self.policy
        if known is not None and (said == self._said or policy_wire.generation(said) <= known.generation):
            return None
        return policy_wire.decode(said)

    def surplus(self, policy: Policy) -> list[int]:
        """Return the numbers of paths that are no more with this policy."""
        return list(self.paths.keys() - {spec.number for spec in policy.paths})

    def follow(self, said: bytes, policy: Policy, make: MakePath, counters: Counters, now: float) -> None:
        """Spread packets like ``policy`` from now on, which was ``said`` so; count inner packets in ``counters``."""
        self.policy, self._said = policy, said
        capacity = max(LEAST_CAPACITY, CAPACITY_OCTETS // len(policy.paths))
        paths: dict[int, Path] = {}
        for spec in policy.paths:
            paths[spec.number] = make(spec, self.paths.pop(spec.number, None), capacity)
        self.retire(counters)
        self.paths = paths
        self.bundle = self.bundle or Bundle(policy, counters, now, server=True)
        self.bundle.configure(policy, paths, now)

    def late(self, number: int, payloads: Sequence[bytes], now: float) -> list[Frame]:
        """Return what to write to the TUN out of what came by a path, now that another one is the tunnel."""
        path = self.paths.get(number)
        return self.bundle.accept_late(path, payloads, now) if self.bundle is not None and path is not None else []

    def retire(self, counters: Counters) -> None:
        """Keep what was dropped on paths that are no more."""
        for path in self.paths.values():
            counters.drops.update(path.counters.drops)
