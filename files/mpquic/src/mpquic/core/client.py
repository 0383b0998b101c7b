# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's end of a tunnel: one connection at a time, and a new one whenever it dies.

    waiting ──socket_ready──> connecting ──Established──> up
       ^ ^                        │                        │
       │ └──── backoff ───────────┘                        │
       └──────────────── Closed, silence ──────────────────┘

The shell looks at ``needs_socket`` after every call: when it is true, it resolves names and addresses, opens a socket
and answers with socket_ready() or socket_failed(). Registration on a control stream will stand between Established
and up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpquic.core import pmtu, wire
from mpquic.core.backoff import Backoff
from mpquic.core.connection import Closed, Established
from mpquic.core.fit import Fit
from mpquic.core.lane import Lane
from mpquic.core.liveness import CLIENT_SILENCE, KEEPALIVE, Liveness, Verdict
from mpquic.core.types import Change, Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.core.connection import Connection
    from mpquic.core.offload import Codec
    from mpquic.core.types import Address, Arrival, Datagram, Frame

#: Seconds that the first handshake may take; doubles up to the second figure while attempts fail.
ATTEMPT = (1.5, 5.0)
#: Seconds between failed attempts: first ceiling, last ceiling.
RETRY = (0.25, 30.0)
#: The same while there is no socket (no interface, no address, no name): looking again costs little.
RETRY_LOCAL = (0.25, 2.0)
#: A connection that lived so long (seconds) was a success; the next attempt follows at once.
SETTLED = 5.0
#: Reason in the server's CONNECTION_CLOSE when another connection took its place.
SUPERSEDED = "superseded"


class ClientTunnel:
    """State machine of a client, driven by (now, event)."""

    def __init__(
        self,
        connect: Callable[[Address, float], Connection],
        random: Callable[[], float],
        now: float,
        *,
        rate: int | None = None,
        own: IPv4Interface | IPv6Interface | None = None,
    ) -> None:
        """Start by asking for a socket. ``connect(address, now)`` makes a connection, ``random()`` is in [0, 1).

        The datagram size of a new connection is the largest to be tried. ``rate`` is that of the link to the server
        (bits per second), if it is known; ``own`` is the TUN's address.
        """
        self._connect = connect
        self._retry = Backoff(*RETRY, random)
        self._retry_local = Backoff(*RETRY_LOCAL, random)
        self.counters = Counters()
        self._lane = Lane(self.counters, rate)
        self.fit = Fit(self._lane, own)
        self.connection: Connection | None = None
        self._liveness: Liveness | None = None
        self._farewell: list[Datagram] = []
        self._changes: list[Change] = []
        self._attempt_ends = math.inf
        self._remote: Address | None = None
        #: UDP payloads: the largest that may be sent, the largest of this attempt.
        self._ceiling = 0
        self._tried = 0
        self._heard = False
        self._refused = 0
        self._send_error = ""
        self._retry_at = now
        self.needs_socket = True
        self.state = "waiting"
        self.reason = "starting"
        self.since = now
        self.connects = 0

    @property
    def session(self) -> str | None:
        """Id of the connection that is up."""
        return self.connection.session if self.connection is not None and self.state == "up" else None

    @property
    def limit(self) -> float | None:
        """Bits per second to which the circuit breaker holds this end, None while it is closed."""
        return self._lane.limit

    # --- what the shell reports -------------------------------------------------------------------------------------

    def socket_ready(self, remote: Address, now: float) -> None:
        """Start a handshake with ``remote``: a socket to it is open."""
        self.needs_socket = False
        self._retry_local.reset()
        self._refused = 0
        self._send_error = ""
        self._remote = remote
        self._dial(self.fit.proved, now)
        first, last = ATTEMPT
        self._attempt_ends = now + min(last, first * 2.0 ** min(self._retry.failures, 8))
        self._enter("connecting", self.reason, now)

    def socket_failed(self, reason: str, now: float) -> None:
        """Try again soon: this host lacks an interface, an address, a route or the server's name."""
        self.needs_socket = False
        self._wait(self._retry_local.next(), reason, now)

    def send_failed(self, reason: str) -> None:
        """Note that the kernel refuses datagrams; explains an attempt that gets no answer."""
        self._send_error = reason

    def too_big(self, now: float) -> None:
        """Note that the kernel called a datagram too big (EMSGSIZE), a hint that the path carries less."""
        if self.state == "up":
            self.fit.hint(now)
        elif self.connection is not None and not self._heard:
            lower = pmtu.rungs(self.connection.datagram_size)
            if lower:
                # A new connection sends at once, this one would wait for its timer.
                self._dial(lower[0], now)
            else:
                self._send_error = "the link is too small for QUIC, which needs an MTU of 1228 (IPv4) or 1248 (IPv6)"

    def refused(self, now: float) -> None:
        """Note ICMP "port unreachable", a hint that the server is not running."""
        self._refused += 1
        if self.state == "up" and self._liveness is not None:
            self._liveness.refused(now)

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self._lane.codec = codec

    def receive(self, arrivals: Sequence[Arrival], now: float) -> list[Frame]:
        """Take UDP datagrams and return what to write to the TUN."""
        if self.connection is None:
            return []
        if self.state == "connecting":
            self._hear(self.connection, arrivals)
        payloads = self.connection.open(arrivals, now)
        self._handle_events(now)
        if not payloads:
            return []
        if self.state != "up":
            # Nothing is accepted from a server that has not proved who it is.
            self.counters.drops["not_established"] += len(payloads)
            return []
        return self._lane.accept(payloads)

    def send(self, reads: Sequence[bytes], now: float) -> None:
        """Take reads of the TUN."""
        self._lane.offer(reads, self.connection if self.state == "up" else None, now)

    def flush(self, now: float) -> list[Datagram]:
        """Return the UDP datagrams that are to be sent now. Call after every batch."""
        farewell, self._farewell = self._farewell, []
        if self.connection is None:
            return farewell
        datagrams = self._lane.flush(self.connection, now)
        return farewell + datagrams if farewell else datagrams

    def fire(self, now: float) -> None:
        """Run what is due."""
        if self.state == "waiting" and now >= self._retry_at:
            self._retry_at = math.inf
            self.needs_socket = True
        if self.connection is None:
            return
        if self.state == "connecting" and not self._heard and now >= self.connection.deadline():
            # The Initial is about to be repeated, padded to the size of that moment (RFC 9000 section 14.1): a smaller
            # one each time, so that a narrow path costs no attempt.
            lower = pmtu.rungs(self.connection.datagram_size)
            if lower:
                self.connection.set_datagram_size(lower[0])
        self.connection.fire(now)
        self.fit.fire(now)
        self._handle_events(now)
        if self.state == "connecting" and now >= self._attempt_ends:
            self._fail(self._why_no_answer(), now)
        elif self.state == "up" and self._liveness is not None:
            verdict = self._liveness.check(now)
            if verdict is Verdict.PROBE and self.connection is not None:
                self.connection.ping()
            elif verdict is Verdict.DEAD:
                self._fail(f"no acknowledgement for {self._liveness.limit():.1f} s", now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        if self.connection is None:
            return self._retry_at
        deadline = min(self.connection.deadline(), self._lane.deadline())
        if self.state == "up" and self._liveness is not None:
            return min(deadline, self._liveness.deadline(), self.fit.deadline())
        return min(deadline, self._attempt_ends)

    def close(self, now: float) -> None:
        """End the tunnel politely: flush() afterwards returns the goodbye."""
        self._say_goodbye("client stops", now)
        self.needs_socket = False
        self._retry_at = math.inf
        self._enter("stopped", "told to stop", now)

    def changes(self) -> list[Change]:
        """Return the state changes since the last call, for the log."""
        changes, self._changes = self._changes + self._lane.changes(), []
        return changes

    # --- inside -----------------------------------------------------------------------------------------------------

    def _dial(self, size: int | None, now: float) -> None:
        """Begin a handshake in datagrams of ``size`` bytes, None for the largest."""
        assert self._remote is not None
        self.connection = self._connect(self._remote, now)
        self._ceiling = self._tried = self.connection.datagram_size
        if size is not None and size < self._ceiling:
            self._tried = size
            self.connection.set_datagram_size(size)
        self._heard = False

    def _hear(self, connection: Connection, arrivals: Sequence[Arrival]) -> None:
        """Take the size of the server's answer: it got an Initial as large, so both directions carry it."""
        for data, size, _address in arrivals:
            for at in range(0, len(data), size or 1):
                datagram = data[at : at + size]
                if not wire.is_initial(datagram) or not pmtu.BASE <= len(datagram) <= self._tried:
                    continue
                if not self._heard or len(datagram) > connection.datagram_size:
                    self._heard = True
                    connection.set_datagram_size(len(datagram))

    def _handle_events(self, now: float) -> None:
        if self.connection is None:
            return
        for event in self.connection.events():
            self.fit.note(event, now)
            if isinstance(event, Established):
                clock = self.connection.clock
                clock.restart(now)
                self._liveness = Liveness(clock, silence=CLIENT_SILENCE, keepalive=KEEPALIVE)
                self.fit.start(self.connection, self._ceiling, now)
                self.connects += 1
                self._enter("up", "connected", now)
            elif isinstance(event, Closed):
                who = "server closed: " if event.by_peer else ""
                self._fail(f"{who}{event.reason}", now, superseded=event.by_peer and event.reason == SUPERSEDED)
                return

    def _fail(self, reason: str, now: float, *, superseded: bool = False) -> None:
        """Give up the present connection and arrange the next."""
        settled = self.state == "up" and now - self.since >= SETTLED and not superseded
        self._say_goodbye("gave up", now)
        if settled:
            self._retry.reset()
            self._wait(0.0, reason, now)
            self.fire(now)
        else:
            self._wait(self._retry.next(), reason, now)

    def _why_no_answer(self) -> str:
        if self._send_error:
            return f"cannot send: {self._send_error}"
        return "no answer, port closed" if self._refused else "no answer"

    def _say_goodbye(self, reason: str, now: float) -> None:
        if self.connection is not None:
            self.connection.close(reason)
            self._farewell, _taken = self.connection.seal([], now)
        self.connection = None
        self._liveness = None
        self.fit.stop()
        self._lane.reset()

    def _wait(self, delay: float, reason: str, now: float) -> None:
        self._retry_at = now + delay
        self._enter("waiting", reason, now, failed=True, detail=f"retry_s={delay:.2f}")

    def _enter(self, state: str, reason: str, now: float, *, failed: bool = False, detail: str = "") -> None:
        if state != self.state:
            self.since = now
        self.state = state
        self.reason = reason
        self._changes.append(Change(state, reason, failed, detail))
