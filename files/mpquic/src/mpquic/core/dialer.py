# SPDX-License-Identifier: GPL-3.0-or-later
"""How one path of a client comes to a connection, to another one in its place, and does without one.

    waiting ──socket_ready──> connecting ──registered──> up
       ^ ^                        │                       │
       │ └──── backoff ───────────┘                       │
       └──────────────── Closed, silence ─────────────────┘

A client with other ways keeps a connection that fell silent beside the new attempts, and goes on asking. Whichever
answers first is the tunnel: the old one when the path was interrupted, the new one when the server was restarted.

While up, renew() makes a new connection over the same socket, with new keys or new trust, and gives the old one up when
the new one is confirmed. A server that is being replaced asks for the same.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from mpquic.core.attempts import Attempts
from mpquic.core.connection import SUPERSEDED, CidIssued, CidRetired, Closed, ControlData, Established
from mpquic.core.dial import Dial, Dials, RefusedError
from mpquic.core.liveness import CLIENT_SILENCE, KEEPALIVE, Liveness
from mpquic.core.state import StateMachine
from mpquic.core.types import Change, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpquic.core.attempts import Pace
    from mpquic.core.connection import Connection
    from mpquic.core.dial import Registration
    from mpquic.core.messages import Joined, Registered
    from mpquic.core.path import Path
    from mpquic.core.types import Address, Datagram

#: A connection that lived so long (seconds) was a success; the next attempt follows at once.
SETTLED = 5.0
#: Seconds that a connection which was renewed is still listened to, unless the server closes it before.
LINGER = 3.0
#: Seconds that a connection lives at least before the server may have it renewed.
RENEW_PAUSE = 1.0
#: Why a path is up when there was a connection before.
RENEWED = "connected anew, the previous connection is done"


class Dialer(StateMachine, ABC):
    """The connections of one path, and the state that follows from them. What goes through them is an uplink's."""

    def __init__(
        self,
        connect: Callable[[Address, float], Connection],
        random: Callable[[int], bytes],
        now: float,
        path: Path,
        pace: Pace,
    ) -> None:
        """Start by asking for a socket; see Uplink."""
        super().__init__("waiting", "starting", now)
        self.path = path
        self._connect = connect
        self._random = random
        self._attempts = Attempts(pace, random)
        self._lane = path.lane
        self._fit = path.fit
        self._dials = Dials(path.counters.drops)
        self._liveness: Liveness | None = None
        #: What leaves with the next flush().
        self._ready: list[Datagram] = []
        self._remote: Address | None = None
        self._retry_at = now
        self._renew_at = math.inf
        self.needs_socket = True
        #: There is no socket, and the silent connection waits for one.
        self._stranded = False
        self.connects = 0
        #: Handshakes that were begun.
        self.handshakes = 0

    # --- what differs between clients -------------------------------------------------------------------------------

    @abstractmethod
    def _registration(self) -> Registration | None:
        """Return what makes a connection that is established the tunnel; None if that is all."""

    def _objection(self, answer: Registered | Joined) -> str:
        """Return why the server's yes is not good, "" if it is."""
        del answer
        return ""

    def _took_over(self, dial: Dial, now: float) -> None:
        """Go on: ``dial`` has just become the connection of this path, whether there was one before or not."""
        del dial, now

    def _losing(self, reason: str, now: float) -> None:
        """Go on: the connection of this path is about to be given up."""
        del reason, now

    # --- what is wanted of it ---------------------------------------------------------------------------------------

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
            self._begin(self._fit.proved, now, self._attempts.ends(now))
        elif redial and self._dials.current is not None:
            self._renew_at = now
        self.fire(now)

    def restart(self, reason: str, now: float) -> None:
        """Give up what there is, which is no fault of the path, and try again at once."""
        self._end_all("gave up", now, reason)
        self._attempts.settled()
        self._wait(0.0, reason, now)
        self.fire(now)

    @abstractmethod
    def fire(self, now: float) -> None:
        """Run what is due."""

    # --- attempts ---------------------------------------------------------------------------------------------------

    def _wait(self, delay: float, reason: str, now: float) -> None:
        self._retry_at = now + delay
        self._enter("waiting", reason, now, failed=True, detail=f"retry_s={delay:.2f}")

    def _try_again(self, now: float) -> None:
        """Ask for a socket, unless there is one that has to stay."""
        self._retry_at = math.inf
        if not self._dials.all() or self._stranded:
            self.needs_socket = True
        else:
            self._attempt(now)

    def _attempt(self, now: float) -> None:
        """Begin an attempt over the socket that there is."""
        self._attempts.begin()
        self._begin(self._fit.proved, now, self._attempts.ends(now))
        self._enter("connecting", self.reason, now)

    def _begin(self, size: int | None, now: float, ends: float) -> None:
        """Begin a handshake in datagrams of ``size`` bytes, None for the largest."""
        assert self._remote is not None
        self.handshakes += 1
        dial = self._dials.fresh = Dial(self._connect(self._remote, now), size, ends)
        self._handle_events(dial, now)

    def _fire(self, dial: Dial, now: float) -> None:
        dial.connection.fire(now)
        self._handle_events(dial, now)

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
            dial.ends = max(dial.ends, now + self._attempts.pace.attempt[0])
            dial.register(registration)

    def _hear(self, dial: Dial, data: bytes, now: float) -> None:
        """Take what the server says to a registration."""
        try:
            answer = dial.answered(data)
        except RefusedError as error:
            self._lose(dial, str(error), now)
            return
        if answer is not None:
            self._welcome(dial, answer, now)
        if dial is self._dials.current and dial.outdated and not dial.heeded and self._dials.fresh is None:
            dial.heeded = True
            self._renew_at = min(self._renew_at, max(now, self.since + RENEW_PAUSE))

    def _welcome(self, dial: Dial, answer: Registered | Joined, now: float) -> None:
        """Go on after the server's yes."""
        objection = self._objection(answer)
        if objection:
            self._lose(dial, objection, now)
            return
        dial.confirm()
        self._take_over(dial, now)

    # --- becoming the tunnel ----------------------------------------------------------------------------------------

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
        self._liveness = Liveness(dial.connection.clock, silence=CLIENT_SILENCE, keepalive=self._keepalive())
        self._fit.start(dial.connection, dial.ceiling, now)
        self.path.connection = dial.connection
        self.path.samples.follow(dial.connection.clock)

    def ping_every(self, seconds: float) -> None:
        """Ask so often by this path while it carries nothing."""
        self.path.ping_interval = seconds
        if self._liveness is not None:
            self._liveness.keepalive = self._keepalive()

    def _keepalive(self) -> float:
        # Of several paths the judge asks; an uplink of its own must not ask more often than that.
        return max(KEEPALIVE, self.path.ping_interval)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _let_go(self, current: Dial, now: float) -> None:
        """Send no more by the connection that is up, take what is on its way for a moment, and connect anew."""
        reason = "the server is being replaced" if current.outdated else "the server began anew"
        self._losing(reason, now)
        self._ready += self._lane.flush(current.connection, now)
        self._dials.former[current], self._dials.current = now + LINGER, None
        self._rest()
        if self._dials.fresh is not None:
            self._enter("connecting", reason, now)
        elif current.outdated or now - self.since >= SETTLED:
            self._attempt(now)
        else:
            # A server that forgets again and again is asked less and less often.
            self._wait(self._attempts.failed(), reason, now)

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
            delay = self._attempts.failed()
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
            self._wait(self._attempts.failed(rival=superseded), reason, now)

    def _end_all(self, goodbye: str, now: float, reason: str = "", kept: Dial | None = None) -> None:
        """Close every connection but ``kept``, with ``goodbye`` for the server and another ``reason`` for this end."""
        if self._dials.current is not None:
            self._losing(reason or goodbye, now)
        for dial in self._dials.all():
            if dial is not kept:
                self._say_goodbye(dial, goodbye, now)
        self._rest()

    def _rest(self) -> None:
        """Send and watch no more."""
        self.path.connection = None
        self._liveness = None
        self._renew_at = math.inf
        self._fit.stop()
        self._lane.reset()

    def _say_goodbye(self, dial: Dial, reason: str, now: float) -> None:
        dial.connection.close(reason)
        self._ready += dial.connection.seal([], now)[0]
        if dial is self._dials.current:
            self.path.connection = None
        self._dials.drop(dial)
