# SPDX-License-Identifier: GPL-3.0-or-later
"""When to ask a silent peer, and when to give it up.

QUIC itself notices a dead path late: under load its probe timer restarts with every packet (RFC 9002 section 6.2.1),
so only the idle timeout ends the connection. Here the judge is acknowledgement silence: something ack-eliciting is
outstanding and nothing has been acknowledged. Data that merely arrives is no proof that ours gets through.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.ackclock import AckClock

#: A PING is sent when nothing ack-eliciting was sent for so long (seconds). Below the 30 s of impatient NATs.
KEEPALIVE = 5.0
#: Client: silence that ends a connection, at least (seconds) and in round trips.
CLIENT_SILENCE = (1.5, 6.0)
#: Server: it only frees what a vanished client left behind, the client is the one that reconnects.
SERVER_SILENCE = (5.0, 10.0)
#: The same for a path beside others: a client keeps its silent connection for a while, see mpquic.core.uplink.
SERVER_SILENCE_JOINED = (20.0, 10.0)
#: Silence that is enough when the network said that the port is closed. Only a hint: ICMP can be forged.
REFUSED_SILENCE = (0.3, 3.0)
#: Probes sent in one span of silence, so that single losses do not decide.
PROBES = 6


class Verdict(Enum):
    """What to do about a connection now."""

    FINE = "fine"
    PROBE = "probe"
    DEAD = "dead"


class Liveness:
    """Judges one connection by its AckClock."""

    def __init__(self, clock: AckClock, *, silence: tuple[float, float], keepalive: float | None) -> None:
        """Take the limits as (seconds, round trips) and the keepalive interval, None for none."""
        self._clock = clock
        self._silence = silence
        self.keepalive = keepalive
        self._probed = -math.inf
        self._refused = -math.inf

    def refused(self, now: float) -> None:
        """Note that an ICMP error said nobody listens at the peer's port."""
        self._refused = now

    def limit(self) -> float:
        """Seconds of silence after which the peer is given up."""
        since = self._clock.pending_since
        refused = since is not None and self._refused >= since
        seconds, round_trips = REFUSED_SILENCE if refused else self._silence
        return max(seconds, round_trips * (self._clock.srtt or 0.0))

    def check(self, now: float) -> Verdict:
        """Judge. PROBE means: send a PING now; the answer counts it as sent."""
        since = self._clock.pending_since
        # The same sum as in deadline(): a difference may round the other way, and the timer would never be due.
        if since is not None and now >= since + self.limit():
            return Verdict.DEAD
        if now >= self._probe_at():
            self._probed = now
            return Verdict.PROBE
        return Verdict.FINE

    def deadline(self) -> float:
        """Return when check() may next answer anything but FINE."""
        since = self._clock.pending_since
        dead_at = math.inf if since is None else since + self.limit()
        return min(dead_at, self._probe_at())

    def _probe_at(self) -> float:
        since = self._clock.pending_since
        if since is None:
            if self.keepalive is None:
                return math.inf
            return max(self._clock.last_sent or 0.0, self._probed) + self.keepalive
        # The first probe waits for an answer that may still be on its way.
        patience = max(self.limit() / PROBES, 1.5 * (self._clock.srtt or 0.0))
        return max(since + patience, self._probed + self.limit() / PROBES)
