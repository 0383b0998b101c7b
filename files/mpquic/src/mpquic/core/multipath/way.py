# SPDX-License-Identifier: GPL-3.0-or-later
"""What flows that are treated alike have in common, so that a batch of their packets is handled as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.multipath.scheduler import Dealer
    from mpquic.core.path import Path


class Way:
    """How the packets of some flows go. Only the same is equal to itself: see Plan.way()."""

    __slots__ = ("class_index", "dealer", "ordered", "paths")

    def __init__(self, class_index: int, paths: tuple[Path, ...], dealer: Dealer | None, *, ordered: bool) -> None:
        """Take what does not change."""
        #: Index in the policy's classes.
        self.class_index = class_index
        #: The path that carries them, then those that carry copies: on distinct links, and a suspected path that the
        #: flows have just left. Empty when no path is usable. Of a sprayed class the dealer tells the paths, and there
        #: are no copies.
        self.paths = paths
        #: Deals packets out, None but for sprayed classes.
        self.dealer = dealer
        #: The receiver is to wait a moment for what was numbered before.
        self.ordered = ordered


NOWHERE = Way(0, (), None, ordered=False)
