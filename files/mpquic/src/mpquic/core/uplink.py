# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's end of one path: the datagrams of its connections, what is due when, and whether anybody still answers.

The shell looks at ``needs_socket`` after every call: when it is true, it resolves names and addresses, opens a socket
and answers with socket_ready() or socket_failed().
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

from mpquic.core import pmtu
from mpquic.core.attempts import ALONE
from mpquic.core.dialer import LINGER, SETTLED, Dialer
from mpquic.core.liveness import Verdict
from mpquic.core.types import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpquic.core.attempts import Pace
    from mpquic.core.connection import Connection
    from mpquic.core.dial import Dial
    from mpquic.core.liveness import Liveness
    from mpquic.core.path import Path
    from mpquic.core.types import Address, Arrival, Datagram, Frame

#: Seconds between two questions to a silent connection that is kept.
ASK = 0.1
#: Seconds in which a socket at another place is expected while packets wait for it.
MOVE = 0.5
#: Seconds for which a connection waits for a socket: less than either end's idle timeout.
STRANDED = 25.0
#: Seconds for which a connection that has its socket again is asked: alone at first, at least and in round trips, and
#: then beside a new one.
RETURN = (0.3, 3.0)
RETURN_BESIDE = 2.0
#: Why a path is up when its connection was silent before.
ANSWERS = "answers again"
_TOO_SMALL = "the link is too small for QUIC, which needs an MTU of 1228 (IPv4) or 1248 (IPv6)"


class Uplink(Dialer):
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
        super().__init__(connect, random, now, path, pace)
        #: When the silent connection is asked next, since when it is silent, and when it is given up.
        self._ask_at = self._silent_since = self._silent_until = math.inf
        #: Until when packets wait for another socket, and why there is none.
        self._held_until = math.inf
        self._held_for = ""
        #: No new connection is made: an heir makes one.
        self._handing = False

    # --- what differs between clients, see also Dialer --------------------------------------------------------------

    @abstractmethod
    def _accept(self, dial: Dial, payloads: Sequence[bytes], now: float) -> list[Frame]:
        """Return what to write to the TUN out of the payloads of ``dial``, which was confirmed."""

    def _resumed(self, now: float) -> None:
        """Go on: the connection that was silent is that of this path again."""
        del now

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
    def remote(self) -> Address | None:
        """Where a socket has to lead that is to carry on a connection; None when there is none to carry on."""
        waits = self._held or (self._stranded and self._dials.silent is not None)
        return self._remote if waits else None

    @property
    def over(self) -> bool:
        """Tell whether no connection is left."""
        return not self._dials.all()

    # --- what the shell reports -------------------------------------------------------------------------------------

    def socket_ready(self, remote: Address, now: float) -> None:
        """Go on with the connection that waits, or start a handshake with ``remote``: a socket to it is open."""
        if self.state == "stopped":
            return
        self.needs_socket = False
        self._retry_at = math.inf
        self._attempts.got_socket()
        waited = remote == self.remote
        self._remote = remote
        stranded, self._stranded, held = self._stranded, False, self._held
        self._held_until = math.inf
        dials = self._dials
        if waited and held and dials.current is not None:
            self._move(dials.current, now)
            self._fit.moved(now)
            self._changes.append(Change("moved", self._held_for))
        elif waited and stranded and dials.silent is not None:
            self._return(dials.silent, now)
        else:
            if dials.all():
                self._abandon("the server is elsewhere", now)
            self._attempt(now)

    def socket_lost(self, reason: str, now: float, *, moving: bool) -> None:
        """Let packets wait for another socket, for a moment: there is no place for the one that there was any more."""
        hold = MOVE if moving else self._attempts.pace.hold
        if self._dials.current is None or not hold or not self._lasting():
            self.socket_failed(reason, now)
        else:
            self._held_until, self._held_for = now + hold, reason

    def socket_failed(self, reason: str, now: float) -> None:
        """Do without a socket and try again soon: this host lacks an interface, an address, a route or a name.

        The connection that is up waits, silent, and is the tunnel again if the server still has it then.
        """
        if self.state == "stopped":
            return
        self.needs_socket = False
        self._held_until = math.inf
        dials = self._dials
        current = dials.current if self._lasting() else None
        self._abandon(reason, now, kept=current or dials.silent)
        if current is not None:
            dials.current, dials.silent = None, current
            self._silent_since, self._silent_until = now, now + STRANDED
        self._stranded, self._ask_at = dials.silent is not None, math.inf
        self._wait(self._attempts.no_socket(), reason, now)

    def send_failed(self, reason: str) -> None:
        """Note that the kernel refuses datagrams; explains an attempt that gets no answer."""
        self._attempts.send_failed(reason)

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
                self._attempts.send_failed(_TOO_SMALL)

    def refused(self, now: float) -> None:
        """Note ICMP "port unreachable", a hint that the server is not running."""
        self._attempts.refused()
        if self._liveness is not None:
            self._liveness.refused(now)

    def link_changed(self, now: float) -> None:
        """Note that this host's links or addresses changed: try again at once, or see whether the path is still there.

        What failed before failed under other conditions.
        """
        if self._held:
            self.needs_socket = True
        elif self.state == "waiting":
            self._attempts.forgive()
            self._retry_at = now
            self.fire(now)
        elif self._dials.current is not None:
            self._dials.current.connection.ping()

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
                frames += self._accept(dial, payloads, now)
            else:
                # Nothing is accepted from a server that has not registered us.
                self.path.counters.drops["not_registered"] += len(payloads)
        return frames

    def flush(self, now: float) -> list[Datagram]:
        """Return the UDP datagrams that are to be sent now. Call after every batch."""
        if self._held:
            return []
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
        if now < self._held_until < math.inf:
            return
        if self._held:
            self.socket_failed(self._held_for, now)
        self._fire_all(now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        if self._held:
            return self._held_until
        deadline = math.inf if self._handing else min(self._retry_at, self._renew_at)
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

    def hold(self, now: float) -> None:
        """Make no new connection until go_on(), and give up the one under way: another process makes one."""
        self._handing = True
        fresh = self._dials.fresh
        if fresh is None:
            return
        self._say_goodbye(fresh, "gave up", now)
        if self._dials.current is not None:
            self._renew_at = now
        else:
            self._wait(0.0, self.reason, now)

    def go_on(self) -> None:
        """Make connections again."""
        self._handing = False

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
        self._retry_at = self._held_until = math.inf
        self._enter("stopped", "told to stop", now)

    def changes(self) -> list[Change]:
        """Return the state changes since the last call, for the log."""
        changes, self._changes = self._changes + self._lane.changes(), []
        return changes

    # --- timers -----------------------------------------------------------------------------------------------------

    def _fire_all(self, now: float) -> None:
        dials = self._dials
        if self.state == "waiting" and now >= self._retry_at and not self._handing:
            self._try_again(now)
        if dials.fresh is None and dials.current is not None and now >= self._renew_at and not self._handing:
            self._renew_at = math.inf
            self._begin(self._fit.proved, now, self._attempts.ends(now))
        if dials.fresh is not None:
            dials.fresh.shrink(now)
            self._fire(dials.fresh, now)
        if dials.fresh is not None and now >= dials.fresh.ends:
            self._lose(dials.fresh, self._attempts.why_no_answer(heard=dials.fresh.heard), now)
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

    # --- another socket ---------------------------------------------------------------------------------------------

    @property
    def _held(self) -> bool:
        """Tell whether packets wait for a socket."""
        return self._held_until < math.inf

    def _lasting(self) -> bool:
        """Tell whether the connection that is up may go on from another address."""
        return self._renew_at == math.inf and self._dials.fresh is None

    def _move(self, dial: Dial, now: float) -> None:
        """Tell the server at once that this connection comes from elsewhere: it may be the only one that sends."""
        dial.connection.move()
        dial.connection.clock.restart(now)

    def _return(self, silent: Dial, now: float) -> None:
        """Ask the connection that waited, before anything is done about a new one."""
        self._move(silent, now)
        silent.connection.probe(pmtu.BASE)
        seconds, round_trips = RETURN
        self._retry_at = now + max(seconds, round_trips * (silent.connection.clock.srtt or 0.0))
        self._ask_at = now + ASK
        self._silent_until = now + max(self._attempts.pace.keep, RETURN_BESIDE)

    def _abandon(self, reason: str, now: float, kept: Dial | None = None) -> None:
        """Forget what there is but ``kept``; there is no way for a goodbye."""
        if self._dials.all():
            self._end_all(reason, now, kept=kept)
            self._ready = []

    # --- silence ----------------------------------------------------------------------------------------------------

    def _judge(self, current: Dial, liveness: Liveness, now: float) -> None:
        """Ask a silent server, or give it up."""
        verdict = liveness.check(now)
        if verdict is Verdict.PROBE:
            current.connection.ping()
        elif verdict is Verdict.DEAD:
            reason = f"no acknowledgement for {liveness.limit():.1f} s"
            if self._attempts.pace.keep and self._dials.fresh is None and self._renew_at == math.inf:
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
        self._silent_since, self._ask_at, self._silent_until = now, now, now + self._attempts.pace.keep
        self._rest()
        if settled:
            self._attempts.settled()
        self._wait(0.0 if settled else self._attempts.failed(), reason, now)
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
