# SPDX-License-Identifier: GPL-3.0-or-later
"""What reaches a server that took the place of another process, and belongs to a connection of that one still."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.types import Arrival


@dataclass(slots=True)
class Strays:
    """Datagrams and packets for the other process, in the order they came."""

    #: Datagrams of connections that are unknown here, but for Initials that begin one: it is one of this process.
    arrivals: list[Arrival] = field(default_factory=list)
    #: Reads of the TUN for peers without a connection here.
    reads: list[bytes] = field(default_factory=list)
