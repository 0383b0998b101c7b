# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's end of a tunnel: one connection at a time, and a new one whenever it dies.

    waiting ──socket_ready──> connecting ──REGISTERED──> up
       ^ ^                        │                       │
       │ └──── backoff ───────────┘                       │
       └──────────────── Closed, silence ─────────────────┘

The shell looks at ``needs_socket`` after every call: when it is true, it resolves names and addresses, opens a socket
and answers with socket_ready() or socket_failed(). While up, renew() makes a new connection over the same socket, with
new keys or new trust, and gives the old one up when the new one is the tunnel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.core import gate, messages, pmtu, wire
from mpquic.core.backoff import Backoff
from mpquic.core.connection import CidIssued, CidRetired, Closed, ControlData, Established
from mpquic.core.dial import Dial, RefusedError
from mpquic.core.fit import Fit
from mpquic.core.icmp import TooBig
from mpquic.core.lane import Lane
from mpquic.core.liveness import CLIENT_SILENCE, KEEPALIVE, Liveness, Verdict
from mpquic.core.marking import COPY, marking
from mpquic.core.offload.legacy import LegacyCodec
from mpquic.core.prefixes import PrefixTable
from mpquic.core.types import Change, Counters, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

    from mpquic.core.connection import Connection
    from mpquic.core.offload import Codec
    from mpquic.core.types import Address, Arrival, Datagram, Frame, Network

#: Seconds that the first handshake may take, and then the registration; doubles up to the second figure while attempts
#: fail.
ATTEMPT = (1.5, 5.0)
#: Seconds between failed attempts: first ceiling, last ceiling.
RETRY = (0.25, 30.0)
#: The same while there is no socket (no interface, no address, no name): looking again costs little.
RETRY_LOCAL = (0.25, 2.0)
#: A connection that lived so long (seconds) was a success; the next attempt follows at once.
SETTLED = 5.0
#: Seconds that a connection which was renewed is still listened to, unless the server closes it before.
LINGER = 3.0
#: Reason in the server's CONNECTION_CLOSE when another connection took its place.
SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Settings:
    """What is fixed for the life of a client."""

    #: The TUN's address with its prefix length, None where only the wire matters.
    tun: IPv4Interface | IPv6Interface | None = None
    #: What it registers: the TUN's address as a single address, a second one if there is, then the networks behind it.
    prefixes: tuple[Network, ...] = ()
    #: That is all that may come out of this end of the tunnel.
    complete: bool = True
    #: Bits per second of the link to the server, None if unknown.
    rate: int | None = None
    #: The server knows no registration: it is told the TUN's address.
    legacy: bool = False
    #: The TUN's IPv6 address beside an IPv4 one.
    tun6: IPv6Interface | None = None
    #: The server's address on its TUN, where it does not follow from ``tun``.
    peer: IPv4Address | None = None
    #: Datagrams carry the DSCP of the packet inside. What all have in common is the socket's to set.
    copy_dscp: bool = False


class ClientTunnel:
    """State machine of a client, driven by (now, event)."""

    def __init__(
        self,
        connect: Callable[[Address, float], Connection],
        random: Callable[[int], bytes],
        now: float,
        settings: Settings,
    ) -> None:
        """Start by asking for a socket. ``connect(address, now)`` makes a connection; ``random(n)`` gives n bytes.

        The datagram size of a new connection is the largest to be tried.
        """
        self._connect = connect
        self._random = random
        self._settings = settings
        self._retry = Backoff(*RETRY, self._fraction)
        self._retry_local = Backoff(*RETRY_LOCAL, self._fraction)
        self.counters = Counters()
        self._lane = Lane(self.counters, settings.rate, front=0 if settings.legacy else wire.OVERHEAD)
        self._outbound = gate.OPEN
        if settings.complete:
            table = PrefixTable([(prefix, True) for prefix in settings.prefixes])
            self._outbound, self._lane.gate = gate.towards_server(table), gate.from_server(table)
        own = [tun for tun in (settings.tun, settings.tun6) if tun is not None]
        self._fit = Fit(self._lane, TooBig(*own, peer=settings.peer))
        if settings.copy_dscp:
            self._lane.marking = marking(COPY, front=self._lane.front)
        self._codec_header = 0
        #: The tunnel; a connection that may become it; connections that were, and until when they are heard.
        self._current: Dial | None = None
        self._dial: Dial | None = None
        self._former: dict[Dial, float] = {}
        self._by_cid: dict[bytes, Dial] = {}
        self._liveness: Liveness | None = None
        #: What leaves with the next flush().
        self._ready: list[Datagram] = []
        self._changes: list[Change] = []
        self._remote: Address | None = None
        self._renew_at = math.inf
        self._refused = 0
        self._send_error = ""
        self._retry_at = now
        self.needs_socket = True
        self.state = "waiting"
        self.reason = "starting"
        self.since = now
        self.connects = 0

    # --- what is asked about it -------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection | None:
        """The connection that is the tunnel, or is to become it."""
        dial = self._current or self._dial
        return dial.connection if dial is not None else None

    @property
    def session(self) -> str | None:
        """Id of the connection that is up."""
        return self._current.connection.session if self._current is not None else None

    @property
    def limit(self) -> float | None:
        """Bits per second to which the circuit breaker holds this end, None while it is closed."""
        return self._lane.limit

    @property
    def mtu(self) -> int | None:
        """Bytes of an inner packet that fit, None while unknown: then whatever the TUN has is right."""
        return self._fit.mtu

    def totals(self) -> Counters:
        """Return what was carried and refused since the start."""
        return self.counters

    # --- what the shell reports -------------------------------------------------------------------------------------

    def socket_ready(self, remote: Address, now: float) -> None:
        """Start a handshake with ``remote``: a socket to it is open."""
        self.needs_socket = False
        self._retry_at = math.inf
        self._retry_local.reset()
        self._refused = 0
        self._send_error = ""
        self._remote = remote
        self._begin(self._fit.proved, now, self._attempt_ends(now))
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
        self._fit.hint(now)
        dial = self._dial
        if dial is not None and not dial.heard:
            lower = pmtu.rungs(dial.connection.datagram_size)
            if lower:
                # A padded Initial cannot be made smaller afterwards: begin again.
                self._drop(dial)
                self._begin(lower[0], now, dial.ends)
            else:
                self._send_error = "the link is too small for QUIC, which needs an MTU of 1228 (IPv4) or 1248 (IPv6)"

    def refused(self, now: float) -> None:
        """Note ICMP "port unreachable", a hint that the server is not running."""
        self._refused += 1
        if self._liveness is not None:
            self._liveness.refused(now)

    def renew(self, connect: Callable[[Address, float], Connection], now: float, *, redial: bool) -> None:
        """Make connections this way from now on, and with ``redial`` a new one in place of the present one."""
        self._connect = connect
        if redial and self._current is not None:
            self._renew_at = now
            self.fire(now)
        elif self._current is None and self._dial is not None:
            # It began with what is no longer right.
            self._fail("configuration changed", now)

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self._codec_header = codec.header
        self._lane.codec = LegacyCodec(codec) if self._settings.legacy else codec

    def receive(self, arrivals: Sequence[Arrival], now: float) -> list[Frame]:
        """Take UDP datagrams and return what to write to the TUN."""
        frames: list[Frame] = []
        for dial, batch in self._route(arrivals):
            if dial is self._dial:
                dial.hear(batch)
            payloads = dial.connection.open(batch, now)
            self._handle_events(dial, now)
            if not payloads:
                continue
            if dial is self._current or dial in self._former:
                frames += self._lane.accept(payloads)
            else:
                # Nothing is accepted from a server that has not registered us.
                self.counters.drops["not_registered"] += len(payloads)
        return frames

    def send(self, reads: Sequence[bytes], now: float) -> None:
        """Take reads of the TUN."""
        current = self._current
        passing = self._outbound.passing(reads, self._codec_header, self.counters.drops)
        self._lane.offer(passing, current.connection if current is not None else None, now)

    def answers(self) -> list[Frame]:
        """Return what to write to the TUN: answers to packets that did not fit."""
        return self._fit.answers()

    def flush(self, now: float) -> list[Datagram]:
        """Return the UDP datagrams that are to be sent now. Call after every batch."""
        datagrams, self._ready = self._ready, []
        if self._current is not None:
            datagrams += self._lane.flush(self._current.connection, now)
        if self._dial is not None:
            datagrams += self._dial.connection.seal([], now)[0]
        for dial in self._former:
            datagrams += dial.connection.seal([], now)[0]
        return datagrams

    def fire(self, now: float) -> None:
        """Run what is due."""
        if self.state == "waiting" and now >= self._retry_at:
            self._retry_at = math.inf
            self.needs_socket = True
        if self._dial is None and self._current is not None and now >= self._renew_at:
            self._renew_at = math.inf
            self._begin(self._fit.proved, now, self._attempt_ends(now))
        if self._dial is not None:
            self._dial.shrink(now)
            self._fire(self._dial, now)
        if self._dial is not None and now >= self._dial.ends:
            self._lose(self._dial, self._why_no_answer(), now)
        for dial, until in list(self._former.items()):
            self._fire(dial, now)
            if now >= until:
                self._say_goodbye(dial, "renewed", now)
        if self._current is not None:
            self._fire(self._current, now)
            self._fit.fire(now)
        if self._current is not None and self._liveness is not None:
            self._judge(self._current, self._liveness, now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        deadline = min(self._retry_at, self._renew_at)
        if self._dial is not None:
            deadline = min(deadline, self._dial.connection.deadline(), self._dial.ends)
        for dial, until in self._former.items():
            deadline = min(deadline, dial.connection.deadline(), until)
        if self._current is not None:
            deadline = min(deadline, self._current.connection.deadline(), self._lane.deadline(), self._fit.deadline())
        if self._liveness is not None:
            deadline = min(deadline, self._liveness.deadline())
        return deadline

    def close(self, now: float) -> None:
        """End the tunnel politely: flush() afterwards returns the goodbye."""
        self._end_all("client stops", now)
        self.needs_socket = False
        self._retry_at = math.inf
        self._enter("stopped", "told to stop", now)

    def changes(self) -> list[Change]:
        """Return the state changes since the last call, for the log."""
        changes, self._changes = self._changes + self._lane.changes(), []
        return changes

    # --- connections ------------------------------------------------------------------------------------------------

    def _begin(self, size: int | None, now: float, ends: float) -> None:
        """Begin a handshake in datagrams of ``size`` bytes, None for the largest."""
        assert self._remote is not None
        self._dial = Dial(self._connect(self._remote, now), size, ends)
        self._handle_events(self._dial, now)

    def _attempt_ends(self, now: float) -> float:
        first, last = ATTEMPT
        return now + min(last, first * 2.0 ** min(self._retry.failures, 8))

    def _route(self, arrivals: Sequence[Arrival]) -> list[tuple[Dial, Sequence[Arrival]]]:
        """Group datagrams by connection. There is one but for the moments of a renewal."""
        dials = [dial for dial in (self._current, self._dial, *self._former) if dial is not None]
        if len(dials) <= 1:
            return [(dial, arrivals) for dial in dials]
        groups: list[tuple[Dial, Sequence[Arrival]]] = []
        batch: list[Arrival] = []
        for arrival in wire.by_connection(arrivals):
            data = arrival[0]
            header = None if wire.is_short(data) else wire.long_header(data)
            cid = header.destination if header is not None else data[1 : 1 + wire.CID_LENGTH]
            dial = self._by_cid.get(cid)
            if dial is None:
                self.counters.drops["unknown_connection"] += 1
            elif groups and groups[-1][0] is dial:
                batch.append(arrival)
            else:
                batch = [arrival]
                groups.append((dial, batch))
        return groups

    def _fire(self, dial: Dial, now: float) -> None:
        dial.connection.fire(now)
        self._handle_events(dial, now)

    def _judge(self, current: Dial, liveness: Liveness, now: float) -> None:
        """Ask a silent server, or give it up."""
        verdict = liveness.check(now)
        if verdict is Verdict.PROBE:
            current.connection.ping()
        elif verdict is Verdict.DEAD:
            self._lose(current, f"no acknowledgement for {liveness.limit():.1f} s", now)

    def _handle_events(self, dial: Dial, now: float) -> None:
        for event in dial.connection.events():
            if dial is self._current:
                self._fit.note(event, now)
            if isinstance(event, CidIssued):
                self._by_cid[event.cid] = dial
            elif isinstance(event, CidRetired):
                self._by_cid.pop(event.cid, None)
            elif isinstance(event, Established):
                self._greet(dial, now)
            elif isinstance(event, ControlData):
                self._hear(dial, event.data, now)
            elif isinstance(event, Closed):
                who = "server closed: " if event.by_peer else ""
                superseded = event.by_peer and event.reason == SUPERSEDED
                self._lose(dial, f"{who}{event.reason}", now, superseded=superseded)

    def _greet(self, dial: Dial, now: float) -> None:
        """Go on after a handshake."""
        if self._settings.legacy:
            self._take_over(dial, now)
        else:
            dial.ends = max(dial.ends, now + ATTEMPT[0])
            dial.register(self._random(messages.ID_LENGTH), self._settings.prefixes)

    def _hear(self, dial: Dial, data: bytes, now: float) -> None:
        """Take what the server says to a registration."""
        try:
            if dial.answered(data):
                self._take_over(dial, now)
        except RefusedError as error:
            self._lose(dial, str(error), now)

    def _take_over(self, dial: Dial, now: float) -> None:
        """Make a connection the tunnel."""
        former, self._current, self._dial = self._current, dial, None
        if former is not None:
            self._former[former] = now + LINGER
            self._lane.move()
        clock = dial.connection.clock
        clock.restart(now)
        self._liveness = Liveness(clock, silence=CLIENT_SILENCE, keepalive=KEEPALIVE)
        self._fit.start(dial.connection, dial.ceiling, now)
        self.connects += 1
        self.since = now
        if self._settings.legacy and self._settings.tun is not None and self._settings.tun.version == 4:
            self._ready += dial.connection.seal([self._settings.tun.ip.packed], now)[0]
        reason = "connected" if former is None else "connected anew, the previous connection is done"
        rtt = f" rtt_ms={clock.srtt * 1000:.0f}" if clock.srtt is not None else ""
        where = f"remote={text(dial.connection.peer)}{rtt} session={dial.connection.session}"
        self._enter("up", reason, now, detail=where)

    def _lose(self, dial: Dial, reason: str, now: float, *, superseded: bool = False) -> None:
        """Go on after a connection ended: with the one that remains, or with a new one."""
        if dial in self._former:
            self._say_goodbye(dial, "renewed", now)
        elif dial is self._dial and self._current is not None:
            # The tunnel is up: its renewal waits for better days.
            self._say_goodbye(dial, "gave up", now)
            delay = self._retry.next()
            self._renew_at = now + delay
            self._changes.append(Change("renewal failed", reason, failed=True, detail=f"retry_s={delay:.2f}"))
        else:
            self._fail(reason, now, superseded=superseded)

    def _fail(self, reason: str, now: float, *, superseded: bool = False) -> None:
        """Give up every connection and arrange the next."""
        settled = self.state == "up" and now - self.since >= SETTLED and not superseded
        self._end_all("gave up", now)
        if settled:
            self._retry.reset()
            self._wait(0.0, reason, now)
            self.fire(now)
        else:
            self._wait(self._retry.next(), reason, now)

    def _why_no_answer(self) -> str:
        if self._send_error:
            return f"cannot send: {self._send_error}"
        if self._dial is not None and self._dial.heard:
            return "the server answers, but the handshake or the registration does not end"
        return "no answer, port closed" if self._refused else "no answer"

    def _end_all(self, reason: str, now: float) -> None:
        for dial in [dial for dial in (self._current, self._dial, *self._former) if dial is not None]:
            self._say_goodbye(dial, reason, now)
        self._liveness = None
        self._renew_at = math.inf
        self._fit.stop()
        self._lane.reset()

    def _say_goodbye(self, dial: Dial, reason: str, now: float) -> None:
        dial.connection.close(reason)
        self._ready += dial.connection.seal([], now)[0]
        self._drop(dial)

    def _drop(self, dial: Dial) -> None:
        self._former.pop(dial, None)
        if dial is self._current:
            self._current = None
        if dial is self._dial:
            self._dial = None
        self._by_cid = {cid: other for cid, other in self._by_cid.items() if other is not dial}

    # --- inside -----------------------------------------------------------------------------------------------------

    def _fraction(self) -> float:
        return int.from_bytes(self._random(7), "big") / (1 << 56)

    def _wait(self, delay: float, reason: str, now: float) -> None:
        self._retry_at = now + delay
        self._enter("waiting", reason, now, failed=True, detail=f"retry_s={delay:.2f}")

    def _enter(self, state: str, reason: str, now: float, *, failed: bool = False, detail: str = "") -> None:
        if state != self.state:
            self.since = now
        self.state = state
        self.reason = reason
        self._changes.append(Change(state, reason, failed, detail))
