# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows of a tunnel: which packets belong together, and what was decided for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.path import Path


class Flow:
    """Packets of one DSCP between two endpoints, in the direction that this end sends."""

    __slots__ = ("bucket", "class_index", "hash", "octets", "path")

    def __init__(self, value: int) -> None:
        """Begin without a class and without a path."""
        #: Of the endpoints, the same for both directions and at both ends (64 bits).
        self.hash = value
        #: Sequence numbers are given per bucket (0 to 255).
        self.bucket = value & 0xFF
        #: Index in the policy's classes.
        self.class_index = 0
        #: Where it goes now, None for nowhere.
        self.path: Path | None = None
        #: Bytes read from the TUN since rates were measured last.
        self.octets = 0
