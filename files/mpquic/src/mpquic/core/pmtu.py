# SPDX-License-Identifier: GPL-3.0-or-later
"""The largest UDP payload that one direction of a path carries, found and kept by probes (RFC 8899).

    search:   probes of several sizes above the present one leave together; the largest that is acknowledged becomes
              the present size, and the next round looks between it and the smallest that was not.
    suspect:  a large packet is lost, or nothing is acknowledged for a while. One probe of the present size and one of
              1200 bytes ask whether large packets still pass. If only the small one is answered, all lower sizes are
              asked at once, and the largest that is acknowledged becomes the present size.

Nothing is lowered before probes have said so: plain loss is far more frequent than a path that shrank, and a lower
size is remembered by inner hosts for ten minutes.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.connection import Connection

#: Bytes of UDP payload that every path carries (RFC 9000 section 14).
BASE = 1200
#: Bytes of UDP payload that a connection attempt tries, from the ceiling down: most mobile networks, and what IPv6
#: guarantees (1280 - 48). A search finds the exact size afterwards.
LADDER = (1352, 1232, BASE)
#: UDP payloads of usual paths: path MTUs 1492 (PPPoE), 1480, 1460, 1428, 1420, 1400, 1358, 1320, 1280 over IPv4 (28
#: bytes of headers), 1500, 1492, 1420, 1400, 1280 over IPv6 (48).
USUAL = (1232, 1252, 1292, 1330, 1352, 1372, 1392, 1400, 1432, 1444, 1452, 1464)
#: Sizes in one round where no usual one is left.
SPREAD = 8
#: Lower sizes that are asked for each time that the present one is asked for.
LOWER = 3
#: Seconds between the end of a search that stayed below the ceiling and the next: first, last (RFC 8899 section 5.1.1
#: has 600); doubled each time. The first is short, because a lost probe looks like a size that does not fit.
AGAIN = (10.0, 600.0)
#: Seconds a round of probes waits for answers, at least, and in round trips.
ROUND = (0.2, 2.0)
#: The same for a search. A client may probe only when the server has confirmed the handshake, one round trip later.
SEARCH_ROUND = (0.2, 3.0)
#: How long it goes on after the last probe of it, the smallest, was acknowledged: the others may have been overtaken.
GRACE = (0.03, 0.25)
#: Seconds without an acknowledgement that make the present size suspect, at least, and in round trips.
SILENCE = (0.25, 1.5)
#: Seconds for which nothing is suspect after a suspicion was cleared.
TRUST = 0.5


class _Mode(Enum):
    IDLE = "idle"
    SEARCH = "search"
    #: The present size and the base are asked.
    ASK = "ask"
    #: All sizes are asked.
    FALL = "fall"


def rungs(size: int) -> tuple[int, ...]:
    """Return the sizes to try after ``size`` when nothing of that size is answered, largest first."""
    return tuple(rung for rung in LADDER if rung < size)


def between(low: int, high: int) -> list[int]:
    """Return the sizes that a round asks for to find the largest that fits, above ``low`` and up to ``high``."""
    usual = {size for size in USUAL if low < size < high}
    step = (high - low) / SPREAD
    even = {low + math.ceil(step * part) for part in range(1, SPREAD)} if not usual else set()
    return [*sorted(usual or {size for size in even if low < size < high}), high]


class PathMtu:
    """Finds the size of one connection's datagrams, from its establishment on."""

    def __init__(self, connection: Connection, ceiling: int, now: float) -> None:
        """Begin at the connection's present size, which the handshake has proved; look for more up to ``ceiling``."""
        self._connection = connection
        self._clock = connection.clock
        self._ceiling = ceiling
        #: Largest UDP payload to send (bytes).
        self.size = connection.datagram_size
        #: Whether ``size`` has been looked at since the handshake, which may have left it low by chance.
        self.settled = self.size >= ceiling
        self._mode = _Mode.IDLE
        self._asked: list[int] = []
        self._high = ceiling
        self._best = 0
        self._round_ends = math.inf
        self._trusted_until = now
        self._wait = AGAIN[0]
        self._search_at = now if self.size < ceiling else math.inf

    @property
    def asking(self) -> int:
        """Number of probes in this round; those that are too large are never answered."""
        return len(self._asked)

    # --- what happens ----------------------------------------------------------------------------------------------

    def acked(self, size: int, now: float) -> None:
        """Note that a probe of ``size`` bytes arrived."""
        if self._mode in {_Mode.ASK, _Mode.FALL}:
            if size >= self.size:
                self._clear(now)
            else:
                self._best = max(self._best, size)
                if size == BASE:
                    self._round_ends = min(self._round_ends, now + self._span(GRACE))
        if size > self.size:
            self._use(size)
            self._wait = AGAIN[0]
        if self._mode is _Mode.SEARCH and size >= self._high:
            self._conclude(now)

    def too_big(self, now: float) -> None:
        """Note that this host, or somebody who says he is a router, called a datagram too big. A hint, no proof."""
        if self._mode in {_Mode.IDLE, _Mode.ASK} and self.size > BASE and now >= self._trusted_until:
            self._fall(now)

    def moved(self, now: float) -> None:
        """Note that the path is another one. The probes are large, so that the peer may answer much at once."""
        if self._mode is _Mode.IDLE and self.size > BASE:
            self._ask(now)
        else:
            self._connection.probe(BASE)

    def fire(self, now: float) -> None:
        """Do what is due."""
        if self._mode is _Mode.IDLE:
            if now >= self._suspect_at():
                self._ask(now)
            elif now >= self._search_at:
                self._high = self._ceiling
                self._search(now)
        elif now >= self._round_ends:
            self._end_round(now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        if self._mode is _Mode.IDLE:
            return min(self._search_at, self._suspect_at())
        return self._round_ends

    # --- inside ----------------------------------------------------------------------------------------------------

    def _suspect_at(self) -> float:
        if self.size <= BASE:
            return math.inf
        if self._clock.large_lost:
            return self._trusted_until
        since = self._clock.pending_since
        return math.inf if since is None else max(self._trusted_until, since + self._span(SILENCE))

    def _span(self, limits: tuple[float, float]) -> float:
        seconds, round_trips = limits
        return max(seconds, round_trips * (self._clock.srtt or 0.0))

    def _ask(self, now: float) -> None:
        """Ask whether large packets still pass."""
        self._probe(_Mode.ASK, [self.size, BASE], now)

    def _fall(self, now: float) -> None:
        """Ask for every size there is, and for the present one several times, since much hangs on its answer."""
        sizes: list[int] = []
        for at, size in enumerate([*reversed(between(BASE, self.size)[:-1]), BASE]):
            if at % LOWER == 0:
                sizes.append(self.size)
            sizes.append(size)
        self._probe(_Mode.FALL, sizes, now)

    def _search(self, now: float) -> None:
        self._probe(_Mode.SEARCH, list(reversed(between(self.size, self._high))), now)
        self._round_ends = now + self._span(SEARCH_ROUND)

    def _probe(self, mode: _Mode, sizes: list[int], now: float) -> None:
        """Send probes, the smallest last: their acknowledgement tells that the others are lost."""
        self._mode = mode
        self._best = 0
        self._asked = sizes
        for size in sizes:
            self._connection.probe(size)
        self._round_ends = now + self._span(ROUND)

    def _end_round(self, now: float) -> None:
        if self._mode is _Mode.SEARCH:
            self.settled = True
            self._high = min((size for size in self._asked if size > self.size), default=self.size + 1) - 1
            if self._high > self.size:
                self._search(now)
            else:
                self._conclude(now)
        elif not self._best:
            # Nothing passes, small or large: the path is dead, or about to be. Liveness is the judge of that.
            self._ask(now)
        elif self._mode is _Mode.ASK:
            self._fall(now)
        else:
            missed = min(size for size in self._asked if size > self._best)
            self._use(self._best)
            self._clock.large_lost = 0
            self.settled = True
            self._wait = AGAIN[0]
            self._high = missed - 1
            if self._high > self.size:
                self._search(now)
            else:
                self._conclude(now)

    def _clear(self, now: float) -> None:
        """Drop the suspicion: it was plain loss."""
        self._clock.large_lost = 0
        self._trusted_until = now + TRUST
        self._idle()

    def _conclude(self, now: float) -> None:
        """End a search."""
        self.settled = True
        if self.size >= self._ceiling:
            self._search_at = math.inf
        else:
            self._search_at = now + self._wait
            self._wait = min(AGAIN[1], 2 * self._wait)
        self._idle()

    def _idle(self) -> None:
        self._mode = _Mode.IDLE
        self._asked = []
        self._round_ends = math.inf

    def _use(self, size: int) -> None:
        self.size = size
        self._connection.set_datagram_size(size)
