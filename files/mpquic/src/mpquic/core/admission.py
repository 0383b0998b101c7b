# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a server answers before it knows who it is: a stranger gets little, and a flood of strangers gets less.

An Initial costs its sender nothing and the server a handshake. So handshakes are few at a time; when they come fast,
a sender first has to prove its address with a Retry (RFC 9000 section 8.1.2), which costs the server no memory.
Addresses of peers that were here before are not held up by strangers. When all places are taken, whoever proved a new
address takes one of those that have the most: shutting others out takes more addresses than there are places.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from ipaddress import ip_address
from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.budget import Bucket

if TYPE_CHECKING:
    from mpquic.core.connection import Retried

#: Half-open connections in all. Each costs about 140 kB.
MAX_HALF_OPEN = 256
#: Half-open connections from one source: an IPv4 address or an IPv6 /64. As many again are kept for those who prove
#: that they are there, so that nobody is held up by forgeries of his address.
MAX_HALF_OPEN_PER_SOURCE = 8
#: Half-open connections above which every address must be proved, and Initials per second above which it must.
RETRY_HALF_OPEN = 16
RETRY_INITIALS = 50.0
#: Handshakes with a proved address that begin per second: from one source; and of sources that were not here before and
#: have begun another just now. Each costs about 1 ms, and can be given up at once.
HANDSHAKES_PER_SOURCE = 16.0
HANDSHAKES = 100.0
#: Sources whose handshakes are counted.
MAX_SOURCES = 4096
#: Retries and Version Negotiations per second. Each answers something larger than itself, but is an answer.
MAX_RETRIES = 2000.0
MAX_VERSIONS = 10.0
#: Sources of known peers that are remembered.
MAX_FAMILIAR = 1024
#: RFC 9000 section 7.2: a client's first destination connection id has at least 8 bytes; section 17.2: at most 20.
_DESTINATION_LENGTHS = range(8, 21)
_LONGEST = 20

#: Verdicts beside the reason for a drop. REPLACE: accept, in the place of the oldest of the ``greediest`` source.
ACCEPT, REPLACE, RETRY, NEGOTIATE = "accept", "replace", "retry", "negotiate"


class Admission:
    """Counts half-open connections and judges what might begin one."""

    def __init__(self) -> None:
        """Start with nobody at the door."""
        self._half_open: Counter[str] = Counter()
        self._total = 0
        self._initials = Bucket(RETRY_INITIALS, RETRY_INITIALS)
        self._retries = Bucket(MAX_RETRIES, MAX_RETRIES / 10)
        self._versions = Bucket(MAX_VERSIONS, MAX_VERSIONS)
        self._familiar: OrderedDict[str, None] = OrderedDict()
        self._handshakes = Bucket(HANDSHAKES, HANDSHAKES)
        self._by_source: OrderedDict[str, Bucket] = OrderedDict()

    def judge(self, header: wire.LongHeader, size: int, host: str, retried: Retried | None, now: float) -> str:
        """Return a verdict, or the reason to drop, on a datagram of ``size`` bytes that no connection knows.

        ``retried`` is what the Initial's token proved.
        """
        if header.version != wire.VERSION_1:
            # RFC 9000 section 6.1: only a datagram that could begin a connection is answered. Version 0 is itself an
            # answer (RFC 8999 section 6).
            answered = size >= wire.MIN_INITIAL and header.version != 0 and self._versions.take(now)
            return NEGOTIATE if answered else "version"
        return _malformed(header, size) or self._crowded(source_of(host), retried, now)

    def _crowded(self, source: str, retried: Retried | None, now: float) -> str:
        """Judge an Initial by how many there are."""
        here = self._half_open[source]
        if retried is None:
            calm = self._initials.take(now) and self._total < RETRY_HALF_OPEN
            if not calm or here >= MAX_HALF_OPEN_PER_SOURCE:
                return RETRY if self._retries.take(now) else "retry_limit"
        elif self._too_fast(source, now):
            return "handshake_limit"
        if here >= 2 * MAX_HALF_OPEN_PER_SOURCE:
            return "half_open_full"
        if self._total < MAX_HALF_OPEN or source in self._familiar:
            return ACCEPT
        return REPLACE if here < self._half_open[self.greediest()] else "half_open_full"

    def _too_fast(self, source: str, now: float) -> bool:
        """Count a handshake that a proved address begins; tell whether it is one too many."""
        own = self._by_source.setdefault(source, Bucket(HANDSHAKES_PER_SOURCE, HANDSHAKES_PER_SOURCE))
        self._by_source.move_to_end(source)
        if len(self._by_source) > MAX_SOURCES:
            self._by_source.popitem(last=False)
        quiet = own.level(now) >= HANDSHAKES_PER_SOURCE
        if not own.take(now):
            return True
        return not (self._handshakes.take(now) or quiet or source in self._familiar)

    def greediest(self) -> str:
        """Return the source with the most half-open connections, of those the one that came first."""
        return max(self._half_open, key=self._half_open.__getitem__)

    def enter(self, host: str) -> None:
        """Count a half-open connection."""
        self._half_open[source_of(host)] += 1
        self._total += 1

    def leave(self, host: str, *, familiar: bool = False) -> None:
        """Count it no more: it ended, or (``familiar``) it turned out to be a peer's."""
        source = source_of(host)
        self._half_open[source] -= 1
        self._total -= 1
        if self._half_open[source] <= 0:
            del self._half_open[source]
        if familiar:
            self._familiar[source] = None
            self._familiar.move_to_end(source)
            if len(self._familiar) > MAX_FAMILIAR:
                self._familiar.popitem(last=False)


def _malformed(header: wire.LongHeader, size: int) -> str | None:
    if not header.initial:
        return "unknown_connection"
    if size < wire.MIN_INITIAL:
        return "initial_small"
    fits = len(header.destination) in _DESTINATION_LENGTHS and len(header.source) <= _LONGEST
    return None if fits else "malformed"


def source_of(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in host:
        return host
    return ip_address(host.partition("%")[0]).packed[:8].hex()
