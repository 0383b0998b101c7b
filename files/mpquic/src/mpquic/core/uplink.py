# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's end of one path: one connection at a time, and a new one whenever it dies.

    waiting ──socket_ready──> connecting ──registered──> up
       ^ ^                        │                       │
       │ └──── backoff ───────────┘                       │
       └──────────────── Closed, silence ─────────────────┘

A client with other ways keeps a connection that fell silent beside the new attempts, and goes on asking. Whichever
answers first is the tunnel: the old one when the path was interrupted, the new one when the server was restarted.

The shell looks at ``needs_socket`` after every call: when it is true, it resolves names and addresses, opens a socket
and answers with socket_ready() or socket_failed(). While up, renew() makes a new connection over the same socket, with
new keys or new trust, and gives the old one up when the new one is confirmed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.core import pmtu
from mpquic.core.backoff import Backoff
from mpquic.core.connection import CidIssued, CidRetired, Closed, ControlData, Established
from mpquic.core.dial import Dial, Dials, RefusedError
from mpquic.core.liveness import CLIENT_SILENCE, KEEPALIVE, Liveness, Verdict
from mpquic.core.types import Change, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.dial import Registration
    from mpquic.core.messages import Joined, Registered
    from mpquic.core.path import Path
    from mpquic.core.types import Address, Arrival, Datagram, Frame

#: Seconds between failed attempts while there is no socket (no interface, no address, no name): first ceiling, last
#: ceiling. Looking again costs little.
RETRY_LOCAL = (0.25, 2.0)
#: Last ceiling (seconds) when another connection took the place of this one: two ends in turn would go on for ever.
RETRY_RIVAL = 30.0
#: A connection that lived so long (seconds) was a success; the next attempt follows at once.
SETTLED = 5.0
#: Seconds that a connection which was renewed is still listened to, unless the server closes it before.
LINGER = 3.0
#: Seconds between two questions to a silent connection that is kept.
ASK = 0.1
#: Why a path is up when there was a connection before.
RENEWED = "connected anew, the previous connection is done"
ANSWERS = "answers again"
#: Reason in the server's CONNECTION_CLOSE when another connection took its place.
SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a client is."""

    #: Seconds that the first handshake may take, and then the registration; doubles up to the second figure while
    #: attempts fail.
    attempt: tuple[float, float]
    #: Seconds between failed attempts: first ceiling, last ceiling.
    retry: tuple[float, float]
    #: Seconds for which a connection that fell silent is kept beside the attempts at a new one. All of them are made
    #: over its socket, so without another way, where the socket may be what is wrong, it is not worth it.
    keep: float = 0.0


#: Of a client that has no other way.
ALONE = Pace(attempt=(1.5, 5.0), retry=(0.25, 30.0))


class Uplink(ABC):
    """State machine of one path of a client, driven by (now, event). Implements mpquic.core.port.ClientPort."""

    def __init__(
        self,
        connect: Callable[[Address, float], Connection],
        random: Callable[[int], bytes],
        now: float,
        path: Path,
        pace: Pace = ALONE,
    ) -> None:
        """Start by asking for a socket. ``connect(address, now)`` makes a connection; ``random(n)`` gives n bytes.

        The datagram size of a new connection is the largest to be tried.
        """
        self.path = path
        self._connect = connect
        self._random = random
        self._pace = pace
        self._retry = Backoff(*pace.retry, self._fraction)
        self._retry_local = Backoff(*RETRY_LOCAL, self._fraction)
        self._lane = path.lane
        self._fit = path.fit
        self._dials = Dials(path.counters.drops)
        self._liveness: Liveness | None = None
        #: What leaves with the next flush().
        self._ready: list[Datagram] = []
        self._changes: list[Change] = []
        self._remote: Address | None = None
        self._renew_at = math.inf
        #: When the silent connection is asked next, since when it is silent, and when it is given up.
        self._ask_at = self._silent_since = self._silent_until = math.inf
        self._refused = 0
        self._send_error = ""
        self._retry_at = now
        self.needs_socket = True
        self.state = "waiting"
        self.reason = "starting"
        self.since = now
        self.connects = 0

    # --- what differs between clients -------------------------------------------------------------------------------

    @abstractmethod
    def _registration(self) -> Registration | None:
        """Return what makes a connection that is established the tunnel; None if that is all."""

    @abstractmethod
    def _accept(self, payloads: Sequence[bytes], now: float) -> list[Frame]:
        """Return what to write to the TUN out of a confirmed connection's payloads."""

    def _objection(self, answer: Registered | Joined) -> str:
        """Return why the server's yes is not good, "" if it is."""
        del answer
        return ""

    def _took_over(self, dial: Dial, now: float) -> None:
        """Go on: ``dial`` has just become the connection of this path, whether there was one before or not."""
        del dial, now

    def _resumed(self, now: float) -> None:
        """Go on: the connection that was silent is that of this path again."""
        del now

    def _losing(self, reason: str, now: float) -> None:
        """Go on: the connection of this path is about to be given up."""
        del reason, now

    # --- what is asked about it -------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection | None:
        """The connection that is the tunnel, or is to become it."""
        dial = self._dials.current or self._dials.fresh
        return dial.connection if dial is not None else None

    @property
    def session(self) -> str | None:
        """Id of the connection that is up."""
        current = self._dials.current
        return current.connection.session if current is not None else None

    @property
    def renewing(self) -> bool:
        """Tell whether a connection is being made beside the present one."""
        return self._dials.current is not None and self._dials.fresh is not None

    @property
    def over(self) -> bool:
        """Tell whether no connection is left."""
        return not self._dials.all()

    # --- what the shell reports -------------------------------------------------------------------------------------

    def socket_ready(self, remote: Address, now: float) -> None:
        """Start a handshake with ``remote``: a socket to it is open."""
        if self.state == "stopped":
            return
        self.needs_socket = False
        self._retry_at = math.inf
        self._retry_local.reset()
        self._remote = remote
        self._attempt(now)

    def socket_failed(self, reason: str, now: float) -> None:
        """Give up what there is and try again soon: this host lacks an interface, an address, a route or a name."""
        if self.state == "stopped":
            return
        self.needs_socket = False
        if self._dials.all():
            self._end_all(reason, now)
            # There is no way for a goodbye.
            self._ready = []
        self._wait(self._retry_local.next(), reason, now)

    def send_failed(self, reason: str) -> None:
        """Note that the kernel refuses datagrams; explains an attempt that gets no answer."""
        self._send_error = reason

    def too_big(self, now: float) -> None:
        """Note that the kernel called a datagram too big (EMSGSIZE), a hint that the path carries less."""
        self._fit.hint(now)
        dial = self._dials.fresh
        if dial is not None and not dial.heard:
            lower = pmtu.rungs(dial.connection.datagram_size)
            if lower:
                # A padded Initial cannot be made smaller afterwards: begin again.
                self._dials.drop(dial)
                self._begin(lower[0], now, dial.ends)
            else:
                self._send_error = "the link is too small for QUIC, which needs an MTU of 1228 (IPv4) or 1248 (IPv6)"

    def refused(self, now: float) -> None:
        """Note ICMP "port unreachable", a hint that the server is not running."""
        self._refused += 1
        if self._liveness is not None:
            self._liveness.refused(now)

    def link_changed(self, now: float) -> None:
        """Note that this host's links or addresses changed: try again at once, or see whether the path is still there.

        What failed before failed under other conditions.
        """
        if self.state == "waiting":
            self._retry.reset()
            self._retry_local.reset()
            self._retry_at = now
            self.fire(now)
        elif self._dials.current is not None:
            self._dials.current.connection.ping()

    def renew(self, connect: Callable[[Address, float], Connection], now: float, *, redial: bool) -> None:
        """Make connections this way from now on, and with ``redial`` a new one in place of the present one.

        An attempt that is under way begins anew: it began with what is no longer right, and nothing has failed.
        """
        self._connect = connect
        if self._dials.silent is not None:
            # It is not for an old trust to come back.
            self._say_goodbye(self._dials.silent, "gave up", now)
        if self._dials.fresh is not None:
            self._say_goodbye(self._dials.fresh, "gave up", now)
            self._begin(self._fit.proved, now, self._attempt_ends(now))
        elif redial and self._dials.current is not None:
            self._renew_at = now
        self.fire(now)

    def restart(self, reason: str, now: float) -> None:
        """Give up what there is, which is no fault of the path, and try again at once."""
        self._end_all("gave up", now, reason)
        self._retry.reset()
        self._wait(0.0, reason, now)
        self.fire(now)

    def receive(self, arrivals: Sequence[Arrival], now: float) -> list[Frame]:
        """Take UDP datagrams and return what to write to the TUN."""
        frames: list[Frame] = []
        dials = self._dials
        for dial, batch in dials.route(arrivals):
            if dial is dials.fresh:
                dial.hear(batch)
            payloads = dial.connection.open(batch, now)
            self._handle_events(dial, now)
            if dial is dials.silent:
                self._listen(dial, now)
            if not payloads:
                continue
            if dial in (dials.current, dials.silent) or dial in dials.former:
                frames += self._accept(payloads, now)
            else:
                # Nothing is accepted from a server that has not registered us.
                self.path.counters.drops["not_registered"] += len(payloads)
        return frames

    def flush(self, now: float) -> list[Datagram]:
        """Return the UDP datagrams that are to be sent now. Call after every batch."""
        datagrams, self._ready = self._ready, []
        dials = self._dials
        if dials.current is not None:
            datagrams += self._lane.flush(dials.current.connection, now)
        if dials.fresh is not None:
            datagrams += dials.fresh.connection.seal([], now)[0]
        if dials.silent is not None:
            datagrams += dials.silent.connection.seal([], now)[0]
        for dial in dials.former:
            datagrams += dial.connection.seal([], now)[0]
        return datagrams

    def fire(self, now: float) -> None:
        """Run what is due."""
        dials = self._dials
        if self.state == "waiting" and now >= self._retry_at:
            self._try_again(now)
        if dials.fresh is None and dials.current is not None and now >= self._renew_at:
            self._renew_at = math.inf
            self._begin(self._fit.proved, now, self._attempt_ends(now))
        if dials.fresh is not None:
            dials.fresh.shrink(now)
            self._fire(dials.fresh, now)
        if dials.fresh is not None and now >= dials.fresh.ends:
            self._lose(dials.fresh, self._why_no_answer(), now)
        self._ask(now)
        for dial, until in list(dials.former.items()):
            self._fire(dial, now)
            if now >= until:
                self._say_goodbye(dial, "renewed", now)
        if dials.current is not None:
            self._fire(dials.current, now)
            self._fit.fire(now)
        if dials.current is not None and self._liveness is not None:
            self._judge(dials.current, self._liveness, now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        deadline = min(self._retry_at, self._renew_at)
        dials = self._dials
        if dials.fresh is not None:
            deadline = min(deadline, dials.fresh.connection.deadline(), dials.fresh.ends)
        if dials.silent is not None:
            deadline = min(deadline, dials.silent.connection.deadline(), self._ask_at, self._silent_until)
        for dial, until in dials.former.items():
            deadline = min(deadline, dial.connection.deadline(), until)
        if dials.current is not None:
            connection = dials.current.connection
            deadline = min(deadline, connection.deadline(), self._lane.deadline(), self._fit.deadline())
        if self._liveness is not None:
            deadline = min(deadline, self._liveness.deadline())
        return deadline

    def close(self, now: float, *, linger: bool = False) -> None:
        """End the tunnel politely: flush() afterwards returns the goodbye.

        With ``linger`` what is on its way is taken for a moment, and the goodbye of the connection that is up follows.
        """
        dials = self._dials
        current = dials.current if linger else None
        self._end_all("client stops", now, kept=current)
        if current is not None:
            dials.current, dials.former[current] = None, now + LINGER
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
        dial = self._dials.fresh = Dial(self._connect(self._remote, now), size, ends)
        self._handle_events(dial, now)

    def _try_again(self, now: float) -> None:
        """Ask for a socket, unless there is one that has to stay."""
        self._retry_at = math.inf
        if self._dials.silent is None:
            self.needs_socket = True
        else:
            self._attempt(now)

    def _attempt(self, now: float) -> None:
        """Begin an attempt over the socket that there is."""
        self._refused = 0
        self._send_error = ""
        self._begin(self._fit.proved, now, self._attempt_ends(now))
        self._enter("connecting", self.reason, now)

    def _attempt_ends(self, now: float) -> float:
        first, last = self._pace.attempt
        return now + min(last, first * 2.0 ** min(self._retry.failures, 8))

    def _fire(self, dial: Dial, now: float) -> None:
        dial.connection.fire(now)
        self._handle_events(dial, now)

    def _judge(self, current: Dial, liveness: Liveness, now: float) -> None:
        """Ask a silent server, or give it up."""
        verdict = liveness.check(now)
        if verdict is Verdict.PROBE:
            current.connection.ping()
        elif verdict is Verdict.DEAD:
            reason = f"no acknowledgement for {liveness.limit():.1f} s"
            if self._pace.keep and self._dials.fresh is None and self._renew_at == math.inf:
                self._fall_silent(current, reason, now)
            else:
                # What is to be renewed is not to come back.
                self._lose(current, reason, now)

    def _fall_silent(self, current: Dial, reason: str, now: float) -> None:
        """Do without a connection, look for a new one, and be ready for the silence to end."""
        settled = now - self.since >= SETTLED
        self._losing(reason, now)
        dials = self._dials
        dials.current, dials.silent = None, current
        self._silent_since, self._ask_at, self._silent_until = now, now, now + self._pace.keep
        self._rest()
        if settled:
            self._retry.reset()
        self._wait(0.0 if settled else self._retry.next(), reason, now)
        self.fire(now)

    def _ask(self, now: float) -> None:
        """Go on asking a silent connection, for a while."""
        if self._dials.silent is not None:
            self._fire(self._dials.silent, now)
        silent = self._dials.silent
        if silent is None:
            return
        if now >= self._silent_until:
            self._say_goodbye(silent, "gave up", now)
        elif now >= self._ask_at:
            self._ask_at = now + ASK
            silent.connection.ping()

    def _listen(self, silent: Dial, now: float) -> None:
        """Let a silent connection be the tunnel again if it has answered."""
        answered, dials = silent.connection.clock.last_ack, self._dials
        if answered is None or answered <= self._silent_since:
            return
        if dials.fresh is not None and dials.fresh.heard:
            self._say_goodbye(dials.fresh, "gave up", now)
        elif dials.fresh is not None:
            # The server may never have heard of it: a goodbye would be an attempt by itself.
            dials.drop(dials.fresh)
        dials.current, dials.silent = silent, None
        self._retry_at = math.inf
        self._use(silent, now)
        self._enter("up", ANSWERS, now)
        self._resumed(now)

    def _handle_events(self, dial: Dial, now: float) -> None:
        for event in dial.connection.events():
            if dial is self._dials.current:
                self._fit.note(event, now)
            if isinstance(event, CidIssued):
                self._dials.claim(event.cid, dial)
            elif isinstance(event, CidRetired):
                self._dials.disclaim(event.cid)
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
        registration = self._registration()
        if registration is None:
            self._take_over(dial, now)
        else:
            dial.ends = max(dial.ends, now + self._pace.attempt[0])
            dial.register(registration)

    def _hear(self, dial: Dial, data: bytes, now: float) -> None:
        """Take what the server says to a registration."""
        try:
            answer = dial.answered(data)
        except RefusedError as error:
            self._lose(dial, str(error), now)
            return
        if answer is None:
            return
        objection = self._objection(answer)
        if objection:
            self._lose(dial, objection, now)
            return
        dial.confirm()
        self._take_over(dial, now)

    def _take_over(self, dial: Dial, now: float) -> None:
        """Make a connection the tunnel."""
        dials = self._dials
        former, dials.current, dials.fresh = dials.current, dial, None
        if former is not None:
            dials.former[former] = now + LINGER
            self._lane.move()
        if dials.silent is not None:
            dials.former[dials.silent], dials.silent = now + LINGER, None
        clock = dial.connection.clock
        clock.restart(now)
        self._use(dial, now)
        self.connects += 1
        self.since = now
        reason = "connected" if former is None else RENEWED
        rtt = f" rtt_ms={clock.srtt * 1000:.0f}" if clock.srtt is not None else ""
        where = f"remote={text(dial.connection.peer)}{rtt} session={dial.connection.session}"
        self._enter("up", reason, now, detail=where)
        self._took_over(dial, now)

    def _use(self, dial: Dial, now: float) -> None:
        """Send by this connection from now on, and watch it."""
        self._liveness = Liveness(dial.connection.clock, silence=CLIENT_SILENCE, keepalive=KEEPALIVE)
        self._fit.start(dial.connection, dial.ceiling, now)
        self.path.connection = dial.connection

    def _rest(self) -> None:
        """Send and watch no more."""
        self.path.connection = None
        self._liveness = None
        self._renew_at = math.inf
        self._fit.stop()
        self._lane.reset()

    def _lose(self, dial: Dial, reason: str, now: float, *, superseded: bool = False) -> None:
        """Go on after a connection ended: with the one that remains, or with a new one."""
        dials = self._dials
        if dial in dials.former:
            self._say_goodbye(dial, "renewed", now)
        elif dial is dials.silent:
            # A new one is looked for already.
            self._say_goodbye(dial, "gave up", now)
        elif dial is dials.fresh and dials.current is not None:
            # The tunnel is up: its renewal waits for better days.
            self._say_goodbye(dial, "gave up", now)
            delay = self._retry.next()
            self._renew_at = now + delay
            self._changes.append(Change("renewal failed", reason, failed=True, detail=f"retry_s={delay:.2f}"))
        else:
            self._fail(reason, now, superseded=superseded)

    def _fail(self, reason: str, now: float, *, superseded: bool = False) -> None:
        """Give up every connection but a silent one, and arrange the next."""
        settled = self.state == "up" and now - self.since >= SETTLED and not superseded
        if settled:
            self.restart(reason, now)
        else:
            self._end_all("gave up", now, reason, kept=self._dials.silent)
            self._wait(self._retry.next(RETRY_RIVAL if superseded else None), reason, now)

    def _why_no_answer(self) -> str:
        if self._send_error:
            return f"cannot send: {self._send_error}"
        fresh = self._dials.fresh
        if fresh is not None and fresh.heard:
            return "the server answers, but the handshake or the registration does not end"
        return "no answer, port closed" if self._refused else "no answer"

    def _end_all(self, goodbye: str, now: float, reason: str = "", kept: Dial | None = None) -> None:
        """Close every connection but ``kept``, with ``goodbye`` for the server and another ``reason`` for this end."""
        if self._dials.current is not None:
            self._losing(reason or goodbye, now)
        for dial in self._dials.all():
            if dial is not kept:
                self._say_goodbye(dial, goodbye, now)
        self._rest()

    def _say_goodbye(self, dial: Dial, reason: str, now: float) -> None:
        dial.connection.close(reason)
        self._ready += dial.connection.seal([], now)[0]
        if dial is self._dials.current:
            self.path.connection = None
        self._dials.drop(dial)

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
