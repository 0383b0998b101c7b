# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's end of a tunnel: many may knock, one is active.

Datagrams are routed by connection id. A new connection starts with an Initial and nothing else; it is half open until
its handshake completes, and half-open ones are few and short-lived. The newest completed handshake is the tunnel: a
client that was restarted is served at once, and its predecessor is told that it was superseded.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from mpquic.core import pmtu, wire
from mpquic.core.connection import CidIssued, CidRetired, Closed, Established
from mpquic.core.fit import Fit
from mpquic.core.lane import Lane
from mpquic.core.liveness import SERVER_SILENCE, Liveness, Verdict
from mpquic.core.types import Change, Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.core.connection import Connection
    from mpquic.core.offload import Codec
    from mpquic.core.types import Arrival, Datagram, Frame

#: Half-open connections in all. Each costs about 140 kB.
MAX_HALF_OPEN = 64
#: Half-open connections from one IP address.
MAX_HALF_OPEN_PER_SOURCE = 8
#: Seconds a handshake may take.
HANDSHAKE_DEADLINE = 5.0
#: RFC 9000 section 7.2: a client's first destination connection id has at least 8 bytes; section 17.2: at most 20.
_ODCID_LENGTHS = range(8, 21)


class _Peer:
    """One connection and how it is found."""

    __slots__ = ("answered", "ceiling", "cids", "connection", "expires", "liveness", "source")

    def __init__(self, connection: Connection, source: str, now: float) -> None:
        self.connection = connection
        self.ceiling = connection.datagram_size
        self.source = source
        self.cids: set[bytes] = set()
        self.expires = now + HANDSHAKE_DEADLINE
        self.answered = False
        self.liveness: Liveness | None = None

    def mirror(self, size: int) -> None:
        """Answer in datagrams no larger than the client's: it makes them smaller until an answer arrives."""
        self.connection.set_datagram_size(min(self.connection.datagram_size, size))


class ServerTunnel:
    """State machine of a server, driven by (now, event)."""

    def __init__(
        self,
        accept: Callable[[bytes, float], Connection],
        now: float,
        *,
        rate: int | None = None,
        own: IPv4Interface | IPv6Interface | None = None,
    ) -> None:
        """Listen. ``accept(destination connection id, now)`` makes a connection out of a client's first Initial.

        The datagram size of a new connection is the largest to be tried. ``rate`` is that of the link to the client
        (bits per second), if it is known; ``own`` is the TUN's address.
        """
        self._accept = accept
        self.counters = Counters()
        self._lane = Lane(self.counters, rate)
        self.fit = Fit(self._lane, own)
        self._by_cid: dict[bytes, _Peer] = {}
        self._half_open: set[_Peer] = set()
        self._per_source: Counter[str] = Counter()
        self._active: _Peer | None = None
        self._farewell: list[Datagram] = []
        self._changes: list[Change] = []
        self.state = "listening"
        self.reason = "waiting for a client"
        self.since = now
        self.connects = 0

    @property
    def connection(self) -> Connection | None:
        """The active connection."""
        return self._active.connection if self._active is not None else None

    @property
    def session(self) -> str | None:
        """Id of the active connection."""
        return self._active.connection.session if self._active is not None else None

    @property
    def limit(self) -> float | None:
        """Bits per second to which the circuit breaker holds this end, None while it is closed."""
        return self._lane.limit

    # --- what the shell reports -------------------------------------------------------------------------------------

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self._lane.codec = codec

    def receive(self, arrivals: Sequence[Arrival], now: float) -> list[Frame]:
        """Take UDP datagrams and return what to write to the TUN."""
        frames: list[Frame] = []
        for peer, batch in self._route(arrivals, now):
            payloads = peer.connection.open(batch, now)
            self._handle_events(peer, now)
            if not payloads:
                continue
            if peer is self._active:
                frames += self._lane.accept(payloads)
            else:
                self.counters.drops["not_established"] += len(payloads)
        return frames

    def send(self, reads: Sequence[bytes], now: float) -> None:
        """Take reads of the TUN."""
        self._lane.offer(reads, self.connection, now)

    def too_big(self, now: float) -> None:
        """Note that the kernel called a datagram too big (EMSGSIZE), a hint that the path carries less."""
        self.fit.hint(now)
        for peer in self._half_open:
            lower = pmtu.rungs(peer.connection.datagram_size)
            if lower:
                peer.mirror(lower[0])

    def flush(self, now: float) -> list[Datagram]:
        """Return the UDP datagrams that are to be sent now. Call after every batch."""
        datagrams, self._farewell = self._farewell, []
        for peer in list(self._half_open):
            answer = peer.connection.seal([], now)[0]
            if not answer and not peer.answered:
                # What started it was no Initial that could be decrypted: every real one is acknowledged at once.
                self.counters.drops["malformed"] += 1
                self._leave_half_open(peer)
                self._release(peer)
                continue
            peer.answered = True
            datagrams += answer
        if self._active is not None:
            datagrams += self._lane.flush(self._active.connection, now)
        return datagrams

    def fire(self, now: float) -> None:
        """Run what is due."""
        for peer in list(self._half_open):
            peer.connection.fire(now)
            self._handle_events(peer, now)
            if peer in self._half_open and now >= peer.expires:
                self.counters.drops["handshake_timeout"] += 1
                # Without a word: the address is not proved, and what it may be sent is used up (RFC 9000 section 8.1).
                self._leave_half_open(peer)
                self._release(peer)
        active = self._active
        if active is None:
            return
        active.connection.fire(now)
        self.fit.fire(now)
        self._handle_events(active, now)
        if active is not self._active or active.liveness is None:
            return
        # No probes from here: the client probes, and QUIC repeats what is outstanding.
        if active.liveness.check(now) is Verdict.DEAD:
            self._end(active, f"no acknowledgement for {active.liveness.limit():.1f} s", now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        deadline = math.inf
        for peer in self._half_open:
            deadline = min(deadline, peer.expires, peer.connection.deadline())
        if self._active is not None:
            deadline = min(deadline, self._active.connection.deadline(), self._lane.deadline())
            if self._active.liveness is not None:
                deadline = min(deadline, self._active.liveness.deadline(), self.fit.deadline())
        return deadline

    def close(self, now: float) -> None:
        """End every connection politely: flush() afterwards returns the goodbyes."""
        active, self._active = self._active, None
        for peer in [*self._half_open, *([active] if active else [])]:
            self._end(peer, "server stops", now)
        self._enter("stopped", "told to stop", now)

    def changes(self) -> list[Change]:
        """Return the state changes since the last call, for the log."""
        changes, self._changes = self._changes + self._lane.changes(), []
        return changes

    # --- routing by connection id -----------------------------------------------------------------------------------

    def _route(self, arrivals: Sequence[Arrival], now: float) -> list[tuple[_Peer, list[Arrival]]]:
        """Group datagrams by connection; runs of the same connection, the normal case, share one group."""
        groups: list[tuple[_Peer, list[Arrival]]] = []
        last: _Peer | None = None
        by_cid = self._by_cid
        for arrival in wire.by_connection(arrivals):
            data = arrival[0]
            peer = by_cid.get(data[1 : 1 + wire.CID_LENGTH]) if wire.is_short(data) else self._long(arrival, now)
            if peer is None:
                if wire.is_short(data):
                    self.counters.drops["unknown_connection"] += 1
            elif peer is last:
                groups[-1][1].append(arrival)
            else:
                groups.append((peer, [arrival]))
                last = peer
        return groups

    def _long(self, arrival: Arrival, now: float) -> _Peer | None:
        """Find the connection of a long header packet, or start one."""
        data, _size, address = arrival
        drops = self.counters.drops
        header = wire.long_header(data)
        if header is None:
            drops["malformed"] += 1
            return None
        known = self._by_cid.get(header.destination)
        if known is not None:
            if header.initial and len(data) >= wire.MIN_INITIAL and known in self._half_open:
                known.mirror(len(data))
            return known
        source = str(address[0])
        refusal = self._refusal(data, header, source)
        if refusal is not None:
            drops[refusal] += 1
            return None
        peer = _Peer(self._accept(header.destination, now), source, now)
        peer.mirror(len(data))
        self._half_open.add(peer)
        self._per_source[source] += 1
        self._claim(peer, header.destination)
        self._handle_events(peer, now)
        return peer

    def _refusal(self, data: bytes, header: wire.LongHeader, source: str) -> str | None:
        if header.version != wire.VERSION_1:
            return "version"
        if not header.initial:
            return "unknown_connection"
        if len(data) < wire.MIN_INITIAL:
            return "initial_small"
        # A peer id of another length would change what fits a packet.
        if len(header.destination) not in _ODCID_LENGTHS or len(header.source) != wire.CID_LENGTH:
            return "malformed"
        if len(self._half_open) >= MAX_HALF_OPEN or self._per_source[source] >= MAX_HALF_OPEN_PER_SOURCE:
            return "half_open_full"
        return None

    def _claim(self, peer: _Peer, cid: bytes) -> None:
        peer.cids.add(cid)
        self._by_cid[cid] = peer

    # --- inside -----------------------------------------------------------------------------------------------------

    def _handle_events(self, peer: _Peer, now: float) -> None:
        for event in peer.connection.events():
            if peer is self._active:
                self.fit.note(event, now)
            if isinstance(event, CidIssued):
                self._claim(peer, event.cid)
            elif isinstance(event, CidRetired):
                peer.cids.discard(event.cid)
                self._by_cid.pop(event.cid, None)
            elif isinstance(event, Established):
                self._activate(peer, now)
            elif isinstance(event, Closed):
                self._end(peer, f"client closed: {event.reason}" if event.by_peer else event.reason, now)
                return

    def _activate(self, peer: _Peer, now: float) -> None:
        previous = self._active
        self._leave_half_open(peer)
        self._active = peer
        if previous is not None:
            self._forget(previous, "superseded", now)
        clock = peer.connection.clock
        clock.restart(now)
        peer.liveness = Liveness(clock, silence=SERVER_SILENCE, keepalive=None)
        self.fit.start(peer.connection, peer.ceiling, now)
        self.connects += 1
        self.since = now
        self._enter("up", "connected" if previous is None else "connected, superseding the previous connection", now)

    def _end(self, peer: _Peer, reason: str, now: float) -> None:
        self._leave_half_open(peer)
        self._forget(peer, reason, now)
        if peer is self._active:
            self._active = None
            self.fit.stop()
            self._enter("listening", reason, now, failed=True)

    def _forget(self, peer: _Peer, reason: str, now: float) -> None:
        peer.connection.close(reason)
        self._farewell += peer.connection.seal([], now)[0]
        self._release(peer)
        if peer.liveness is not None:
            self._lane.reset()

    def _release(self, peer: _Peer) -> None:
        for cid in peer.cids:
            self._by_cid.pop(cid, None)
        peer.cids.clear()

    def _leave_half_open(self, peer: _Peer) -> None:
        if peer in self._half_open:
            self._half_open.remove(peer)
            self._per_source[peer.source] -= 1
            if not self._per_source[peer.source]:
                del self._per_source[peer.source]

    def _enter(self, state: str, reason: str, now: float, *, failed: bool = False) -> None:
        if state != self.state:
            self.since = now
        self.state = state
        self.reason = reason
        self._changes.append(Change(state, reason, failed))
