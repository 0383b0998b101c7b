# SPDX-License-Identifier: GPL-3.0-or-later
"""When to ask for an acknowledgement by a path that carries nothing which does.

In UP the client asks every 200 ms when inner packets took the path in the last 10 s, else as its path says; the server
every 10 s, to know the round trip time. Both ask every 50 ms in SUSPECT and PROBATION, every 200 ms in LOSSY, and four
times at the start: a handshake does not tell the round trip time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpquic.core.multipath.health import State

if TYPE_CHECKING:
    from mpquic.core.ackclock import AckClock
    from mpquic.core.types import Counters

#: Seconds between pings: at the start and in doubt, while lossy, the client's on a busy path, the server's; and how
#: long a path counts as busy.
DOUBT = 0.05
LOSSY = 0.2
BUSY_PATH = 0.2
SERVER = 10.0
BUSY = 10.0
#: Pings at the start.
FIRST = 4


class Pings:
    """The pings by one path."""

    __slots__ = ("_asks", "_at", "_carried", "_first", "_sent", "busy_at", "sending_at")

    def __init__(self, *, asks: bool) -> None:
        """Begin; ``asks`` as a client does."""
        self._asks = asks
        self._at = -math.inf
        self._first = 0
        #: Inner packets that took the path, those that left by it, and when these last rose.
        self._carried = self._sent = 0
        self.busy_at = self.sending_at = -math.inf

    def start(self, now: float) -> None:
        """Begin with a connection."""
        self._at = now
        self._first = FIRST

    def look(self, counters: Counters, now: float) -> None:
        """Look whether the path is in use; call now and then."""
        carried = counters.tx_packets + counters.rx_packets
        if carried != self._carried:
            self._carried = carried
            self.busy_at = now
        if counters.tx_packets != self._sent:
            self._sent = counters.tx_packets
            self.sending_at = now

    def sent(self, now: float) -> None:
        """Note a ping."""
        self._at = now
        self._first = max(0, self._first - 1)

    def due(self, state: State, clock: AckClock, idle: float) -> float:
        """Return when the next one is due, on an idle path after ``idle`` seconds."""
        if self._first:
            return self._at + DOUBT
        last = max(self._at, clock.last_sent or -math.inf)
        if state is State.LOSSY:
            return last + LOSSY
        if state is not State.UP:
            return last + DOUBT
        if not self._asks:
            return last + SERVER
        return last + (BUSY_PATH if last < self.busy_at + BUSY else idle)
