# SPDX-License-Identifier: GPL-3.0-or-later
"""Which path each packet takes: by its class, then by its flow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpquic.core.multipath.flowtable import Flow
    from mpquic.core.multipath.policy import Policy
    from mpquic.core.path import Path


class Share(NamedTuple):
    """What some reads of the TUN have in common: their flow, and with it the way."""

    flow: Flow
    #: In order, as they were given to spread().
    reads: list[bytes]
    #: The path that carries them, then those that carry copies, all on distinct links; empty when no path is usable. Of
    #: a sprayed class deal() tells the paths, and there are no copies.
    paths: tuple[Path, ...]
    #: The receiver is to wait a moment for what was numbered before.
    ordered: bool


class Spreader:
    """Sorts reads into flows, and gives each flow its class and path. Knows nothing about sequence numbers and queues."""

    def __init__(self, policy: Policy, *, turned: bool) -> None:
        """Begin without paths. ``turned``: this is the server, rules match with source and destination swapped."""
        self._policy = policy
        self._turned = turned

    def configure(self, policy: Policy, paths: Mapping[int, Path], now: float) -> None:
        """Go on with this policy and these paths (by number); flows stay where they may."""

    def refresh(self, now: float) -> None:
        """Look at the ranks of the paths anew."""

    def spread(self, reads: Sequence[bytes], at: int, now: float) -> list[Share]:
        """Return one share per flow, in the order of their first reads; packets begin at ``at`` of their read."""
        raise NotImplementedError

    def deal(self, share: Share, sizes: Sequence[int], now: float) -> list[Path]:
        """Return the path of each payload of a share of a sprayed class; ``sizes`` are their bytes."""
        raise NotImplementedError

    def heard(self, data: bytes, at: int, class_index: int, path: Path, now: float) -> None:
        """Take note that the peer sent the IP packet at ``data[at:]`` in this class and by this path.

        The answers get that class, and that path where it is as good as others.
        """

    def fire(self, now: float) -> None:
        """Measure rates and move what is too much for its path, when that is due."""

    def deadline(self) -> float:
        """Return when fire() must be called, infinity for never."""
        return math.inf
