# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to the peer, at either end: what outlives its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core.samples import Samples

if TYPE_CHECKING:
    from mpquic.core.connection import Connection
    from mpquic.core.fit import Fit
    from mpquic.core.lane import Lane
    from mpquic.core.multipath.health import PathHealth
    from mpquic.core.types import Counters


#: Seconds between two pings of a client by a path that carries nothing, unless its operator says otherwise.
PING_INTERVAL = 1.0


class Path:
    """A tunnel has one of these, or as many as its policy says."""

    __slots__ = (
        "connection",
        "counters",
        "fit",
        "health",
        "lane",
        "link",
        "name",
        "number",
        "ping_interval",
        "rx_err",
        "samples",
        "tx_err",
    )

    def __init__(self, number: int, name: str, lane: Lane, fit: Fit, *, link: int = 0) -> None:
        """Take the number and the name that both ends know; paths of one ``link`` share a WAN.

        Alone in its tunnel, a path has the number 0.
        """
        self.number = number
        self.name = name
        self.link = link
        #: Seconds between two pings of a client while nothing else asks for an answer and the path carries nothing.
        self.ping_interval = PING_INTERVAL
        self.lane = lane
        self.fit = fit
        #: What left by it and came by it, every copy counted.
        self.counters: Counters = lane.counters
        #: Its connection as long as one is registered and confirmed.
        self.connection: Connection | None = None
        #: What is known about it, from Monitor.add() on; None where the tunnel has no other.
        self.health: PathHealth | None = None
        #: What the acknowledgements of all its connections said.
        self.samples = Samples()
        #: Packets that could not leave by it, and payloads from it that were refused.
        self.tx_err = 0
        self.rx_err = 0
