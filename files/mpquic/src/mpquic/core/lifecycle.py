# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a server's connections: from a proved key to the tunnel of a peer, and to their end.

A connection proves a key, registers what that key owns, and becomes its peer's tunnel when the client has confirmed:
only then an older connection of that peer is told that it was superseded.

    Initial ──admission──> handshake ──Established──> identity ──REGISTER──> registered ──CONFIRM──> active
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING

from mpquic.core import messages
from mpquic.core.capsules import ProtocolError
from mpquic.core.connection import SUPERSEDED, CidIssued, CidRetired, Closed, ControlData, Established
from mpquic.core.guest import REFUSED_STAYS
from mpquic.core.liveness import SERVER_SILENCE, SERVER_SILENCE_JOINED, Liveness
from mpquic.core.messages import Confirm
from mpquic.core.multipath.trunks import Trunks
from mpquic.core.reception import LEGACY_PROTOCOL, Reception
from mpquic.core.roster import RefusalError
from mpquic.core.schedule import Schedule
from mpquic.core.state import Fault, StateMachine
from mpquic.core.switchboard import Switchboard
from mpquic.core.types import Change, Counters, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpquic.core.connection import Connection, Listener
    from mpquic.core.guest import Guest
    from mpquic.core.multipath.gathering import Gathering
    from mpquic.core.roster import Roster
    from mpquic.core.session import Session
    from mpquic.core.types import Datagram, Frame

#: Reason in a CONNECTION_CLOSE.
PATH_REMOVED = "path removed"
_NO_REGISTRATION = "no registration in time"
#: How refusals are counted, by the code that the client is told.
REFUSALS = {
    messages.VERSION: "version",
    messages.NOT_A_PEER: "not_a_peer",
    messages.NOT_ALLOWED: "not_allowed",
    messages.MALFORMED: "malformed",
}
_SUPERSEDING = "connected, superseding the previous connection"


class Lifecycle(StateMachine, ABC):
    """Which connections there are, and which of them are whose tunnel. What goes through them is a ServerTunnel's."""

    def __init__(self, listener: Listener, roster: Roster, now: float) -> None:
        """Begin without a connection; see ServerTunnel."""
        super().__init__("listening", "waiting for a client", now)
        self.counters = Counters()
        self._reception = Reception(listener, roster, now)
        self.sessions = self._reception.sessions
        self._board = Switchboard(listener, self.counters.drops)
        self._schedule: Schedule[Guest] = Schedule()
        self._trunks = Trunks(self._touch, self._late, self.counters.drops)
        #: What must be looked at by the next flush(), in the order it came up.
        self._touched: dict[Guest, None] = {}
        self._farewell: list[Datagram] = []
        self._latest: Session | None = None
        self._mtu: int | None = None
        self._mtu_is_known = True
        self.connects = 0
        #: Connections that were refused, by kind: one of REFUSALS, ``handshake`` or ``silent``.
        self.refusals: Counter[str] = Counter()
        #: The last of them: whom, by address and if possible by name, and why.
        self.refused: Fault | None = None

    # --- what is asked about it -------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection | None:
        """The connection that became a tunnel last, of those that still are."""
        session = self._latest
        return session.guest.connection if session is not None and session.guest is not None else None

    @property
    def handshakes(self) -> int:
        """Connections so far that clients began."""
        return self._board.handshakes

    @property
    def session(self) -> str | None:
        """Id of that connection."""
        connection = self.connection
        return connection.session if connection is not None else None

    @property
    def mtu(self) -> int | None:
        """Bytes of an inner packet that fit to every peer, None while unknown."""
        if self._mtu_is_known:
            return self._mtu
        self._mtu_is_known = True
        known = [session.mtu for session in self._active()]
        self._mtu = min((mtu for mtu in known if mtu is not None), default=None)
        return self._mtu

    def _active(self) -> Iterable[Session]:
        return (session for session in self.sessions.values() if session.guests)

    @abstractmethod
    def _late(self, session: Session, frames: list[Frame], now: float) -> None:
        """Take packets that had waited for others."""

    def _touch(self, guest: Guest) -> None:
        self._touched[guest] = None

    # --- who it is --------------------------------------------------------------------------------------------------

    def _handle_events(self, guest: Guest, now: float) -> None:
        for event in guest.connection.events():
            if guest.path is not None and guest.path.fit.note(event, now):
                self._mtu_is_known = False
            if isinstance(event, CidIssued):
                self._board.claim(guest, event.cid)
            elif isinstance(event, CidRetired):
                self._board.disclaim(guest, event.cid)
            elif isinstance(event, Established):
                try:
                    self._reception.identify(guest, event.identity)
                except RefusalError as refusal:
                    self._refuse_legacy(guest, refusal, now)
            elif isinstance(event, ControlData):
                self._control(guest, event.data, now)
            elif isinstance(event, Closed):
                self._closed(guest, event, now)
            if guest.gone:
                return

    def _control(self, guest: Guest, data: bytes, now: float) -> None:
        if guest.identity is None or guest.legacy or guest.registration.refused:
            return
        try:
            for wanted in self._reception.hear(guest, guest.identity, data):
                if guest.session is None or guest.gone:
                    return
                if isinstance(wanted, Confirm):
                    self._activate(guest, guest.session, now)
                elif guest.path is not None and guest.gathering is not None:
                    self._follow(guest.session, guest.gathering, wanted.policy, now, joining=False)
        except ProtocolError as error:
            self._refuse(guest, RefusalError(messages.MALFORMED, str(error)), now)
        except RefusalError as refusal:
            self._refuse(guest, refusal, now)

    def _introduce(self, guest: Guest, payloads: list[bytes], now: float) -> list[bytes]:
        """Learn who a legacy client is; return what is left to deliver."""
        try:
            left = self._reception.introduce(guest, payloads, self.counters.drops)
        except RefusalError as refusal:
            self._refuse_legacy(guest, refusal, now)
            return []
        if guest.session is not None:
            self._activate(guest, guest.session, now)
        return left

    def _refuse(self, guest: Guest, refusal: RefusalError, now: float) -> None:
        """Say no, and leave the client a moment to read it."""
        self._tell_refused(guest, refusal.reason, REFUSALS[refusal.code], now)
        if guest.session is not None:
            # It was registered, and broke the protocol since.
            self._end(guest, refusal.reason, now)
            return
        guest.connection.control(guest.registration.refuse(refusal.code, refusal.reason))
        guest.expires = min(guest.expires, now + REFUSED_STAYS)

    def _refuse_legacy(self, guest: Guest, refusal: RefusalError, now: float) -> None:
        self._tell_refused(guest, refusal.reason, REFUSALS[refusal.code], now)
        self._end(guest, "refused", now)

    def _tell_refused(self, guest: Guest, reason: str, kind: str, now: float) -> None:
        self.refusals[kind] += 1
        self.counters.drops["refused"] += 1
        name = self._reception.name_of(guest)
        self.refused = Fault(now, f"{name or 'a stranger'} at {text(guest.connection.peer)}: {reason}")
        detail = [
            f"remote={text(guest.connection.peer)}",
            *([f"key={guest.connection.claimed}"] if guest.connection.claimed else []),
            *([f"peer={name}"] if name else []),
        ]
        self._changes.append(Change("refused", reason, failed=True, detail=" ".join(detail)))

    # --- becoming a tunnel ------------------------------------------------------------------------------------------

    def _activate(self, guest: Guest, session: Session, now: float) -> None:
        """Let a connection that is confirmed be the tunnel, or one path of it."""
        gathering, join = guest.gathering, guest.registration.join
        if gathering is None or join is None:
            self._part(session, None, now)
            former = session.open(None, now)
        else:
            if gathering.over:
                self._end(guest, SUPERSEDED, now)
                return
            former = self._follow(session, gathering, join.policy, now, joining=True)
            if guest.number not in gathering.paths:
                self._end(guest, PATH_REMOVED, now)
                return
        previous = session.enter(guest, now)
        if previous is not None:
            former.append(previous)
        first = len(session.guests) == 1
        guest.confirmed()
        self._board.settle(guest)
        for other in former:
            other.linger(now)
            self._touched[other] = None
        clock = guest.connection.clock
        clock.restart(now)
        silence = SERVER_SILENCE if gathering is None else SERVER_SILENCE_JOINED
        guest.liveness = Liveness(clock, silence=silence, keepalive=None)
        self._mtu_is_known = False
        session.connects += 1
        self.connects += 1
        self._latest = session
        if session.bundle is not None:
            self._trunks.stir(session)
        if not first:
            # One more path of a tunnel that is up, of which the bundle tells; of another connection it does not.
            if previous is not None:
                detail = f"peer={session.member.name} name={session.paths[guest.number].name}"
                detail += f" remote={text(guest.connection.peer)} session={guest.connection.session}"
                self._changes.append(Change("path renewed", _SUPERSEDING, detail=detail))
            return
        session.since = self.since = now
        session.outage.note(now, up=True)
        session.reason = _SUPERSEDING if former else "connected"
        rtt = f" rtt_ms={clock.srtt * 1000:.0f}" if clock.srtt is not None else ""
        detail = f"peer={session.member.name} remote={text(guest.connection.peer)}{rtt}"
        if session.legacy:
            detail += f" protocol={LEGACY_PROTOCOL} identity=none"
        self._enter("up", session.reason, now, detail=f"{detail} session={guest.connection.session}")

    def _follow(self, session: Session, gathering: Gathering, said: bytes, now: float, *, joining: bool) -> list[Guest]:
        """Be the tunnel over several paths, and spread its packets like a policy, if nothing newer is known.

        Return the connections that are no part of it. Raises ProtocolError and RefusalError, and nothing has happened.
        """
        policy = session.news(gathering, said, now, joining=joining)
        self._part(session, gathering, now)
        former = session.open(gathering, now)
        gone = session.follow(gathering, said, policy, now) if policy is not None else []
        for guest in gone:
            guest.linger(now)
            self._touched[guest] = None
        if gone:
            self._left(session, PATH_REMOVED, now)
        self._trunks.stir(session)
        return former

    def _part(self, session: Session, gathering: Gathering | None, now: float) -> None:
        """Let go what waits in a tunnel whose connections are about to be superseded by others than of its paths."""
        if gathering is session.gathering:
            return
        for guest in session.guests.values():
            if guest.path is not None:
                self._farewell += guest.path.lane.flush(guest.connection, now)
        if session.bundle is not None:
            session.bundle.restart(now)
            self._late(session, session.bundle.released(), now)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _closed(self, guest: Guest, event: Closed, now: float) -> None:
        if guest.session is None and not guest.registration.refused:
            if event.by_peer:
                self.counters.drops["handshake_left"] += 1
            else:
                self._tell_refused(guest, event.reason, "handshake", now)
        self._end(guest, f"client closed: {event.reason}" if event.by_peer else event.reason, now)

    def _expire(self, guest: Guest, now: float) -> None:
        if guest.identity is None:
            self.counters.drops["handshake_timeout"] += 1
            # Without a word: the address is not proved, and what it may be sent is used up (RFC 9000 section 8.1).
            self._release(guest)
            return
        if guest.superseded:
            self._end(guest, SUPERSEDED if guest.removed is None else PATH_REMOVED, now)
        elif guest.registration.refused:
            self._end(guest, "refused", now)
        else:
            self._tell_refused(guest, _NO_REGISTRATION, "silent", now)
            self._end(guest, _NO_REGISTRATION, now)

    def _end(self, guest: Guest, reason: str, now: float) -> None:
        session, active = guest.session, guest.active
        if session is not None:
            session.leave(guest, reason, now)
        guest.connection.close(reason)
        self._farewell += guest.sealed(now)
        self._release(guest)
        if session is not None and active:
            self._left(session, reason, now)

    def _left(self, session: Session, reason: str, now: float) -> None:
        """Note that a tunnel has a connection less."""
        self._mtu_is_known = False
        if session.bundle is not None:
            self._trunks.left(session, now)
        if session.guests:
            return
        session.since = now
        session.reason = reason
        session.outage.note(now, up=False)
        session.fault = Fault(now, reason)
        if session is self._latest:
            self._latest = next(iter(self._active()), None)
        detail = f"peer={session.member.name}"
        if self._latest is None:
            self._enter("listening", reason, now, failed=True, detail=detail)
        else:
            self._changes.append(Change("listening", reason, failed=True, detail=detail))

    def _release(self, guest: Guest) -> None:
        self._board.release(guest)
        self._schedule.discard(guest)
