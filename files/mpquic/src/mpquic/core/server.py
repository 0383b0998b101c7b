# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's end of its peers' tunnels, all on one port and one TUN device.

Datagrams are routed by connection id, inner packets by destination address. A connection starts with an Initial and
nothing else, proves a key, registers what that key owns, and becomes its peer's tunnel when the client has confirmed:
only then an older connection of that peer is told that it was superseded.

    Initial ──admission──> handshake ──Established──> identity ──REGISTER──> registered ──CONFIRM──> active
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mpquic.core import messages, pmtu, wire
from mpquic.core.capsules import ProtocolError
from mpquic.core.carriers import Carriers
from mpquic.core.connection import SUPERSEDED, CidIssued, CidRetired, Closed, ControlData, Established
from mpquic.core.guest import MAX_UNREGISTERED, REFUSED_STAYS, Guest
from mpquic.core.liveness import SERVER_SILENCE, SERVER_SILENCE_JOINED, Liveness, Verdict
from mpquic.core.messages import Confirm
from mpquic.core.multipath.trunks import Trunks
from mpquic.core.reception import LEGACY_PROTOCOL, Reception
from mpquic.core.roster import RefusalError
from mpquic.core.schedule import Schedule
from mpquic.core.session import Session
from mpquic.core.switchboard import Switchboard
from mpquic.core.types import Change, Counters, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.core.connection import Connection, Listener
    from mpquic.core.multipath.gathering import Gathering
    from mpquic.core.offload import Codec
    from mpquic.core.roster import Member, Roster
    from mpquic.core.types import Arrival, Datagram, Frame

#: Reasons in a CONNECTION_CLOSE.
NO_LONGER = "no longer a peer"
PATH_REMOVED = "path removed"
_IPV4 = 4
_NO_REGISTRATION = "no registration in time"
_SUPERSEDING = "connected, superseding the previous connection"


class ServerTunnel:
    """State machine of a server, driven by (now, event)."""

    def __init__(
        self,
        listener: Listener,
        roster: Roster,
        now: float,
        *,
        rate: int | None = None,
        own: Sequence[IPv4Interface | IPv6Interface] = (),
    ) -> None:
        """Listen for the members of ``roster``; ``listener`` makes their connections.

        The datagram size of a new connection is the largest to be tried. ``rate`` is that of the link to each client
        (bits per second), if it is known; ``own`` are the TUN's addresses, one of each family at most.
        """
        self._rate = rate
        self._own = own
        self._codec: Codec | None = None
        self.counters = Counters()
        self._reception = Reception(listener, roster, now)
        self.sessions = self._reception.sessions
        self._carriers = Carriers(roster)
        self._board = Switchboard(listener, self.counters.drops)
        self._schedule: Schedule[Guest] = Schedule()
        self._trunks = Trunks(self._touch, self._late, self.counters.drops)
        #: What must be looked at by the next flush(), in the order it came up; and what the last one looked at.
        self._touched: dict[Guest, None] = {}
        self._flushed: dict[Guest, None] = {}
        #: Packets that had waited for others.
        self._released: list[Frame] = []
        self._farewell: list[Datagram] = []
        self._changes: list[Change] = []
        self._latest: Session | None = None
        self._mtu: int | None = None
        self._mtu_is_known = True
        self.state = "listening"
        self.reason = "waiting for a client"
        self.since = now
        self.connects = 0
        self._roster = roster
        self.configure(listener, roster, now)

    # --- what is asked about it -------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection | None:
        """The connection that became a tunnel last, of those that still are."""
        session = self._latest
        return session.guest.connection if session is not None and session.guest is not None else None

    @property
    def session(self) -> str | None:
        """Id of that connection."""
        connection = self.connection
        return connection.session if connection is not None else None

    @property
    def ports(self) -> Sequence[ServerTunnel]:
        """Its only one: all clients come to one UDP port."""
        return (self,)

    def touched(self) -> Sequence[ServerTunnel]:
        """Return the ports that may have something to send."""
        return (self,)

    @property
    def limit(self) -> float | None:
        """Bits per second to which the circuit breaker holds the narrowest path, None while all are closed."""
        limits = [session.limit for session in self.sessions.values()]
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def mtu(self) -> int | None:
        """Bytes of an inner packet that fit to every peer, None while unknown."""
        if self._mtu_is_known:
            return self._mtu
        self._mtu_is_known = True
        known = [session.mtu for session in self._active()]
        self._mtu = min((mtu for mtu in known if mtu is not None), default=None)
        return self._mtu

    def totals(self) -> Counters:
        """Return what all tunnels carried and refused since the start."""
        totals = Counters()
        for counters in (self.counters, *(session.totals() for session in self.sessions.values())):
            totals.add(counters)
        return totals

    # --- what the shell reports -------------------------------------------------------------------------------------

    def configure(self, listener: Listener, roster: Roster, now: float) -> None:
        """Serve these peers from now on. Tunnels of those that stay what they are go on undisturbed."""
        self._reception.configure(listener, roster, self._board.guests, now)
        self._board.listener = listener
        self._roster = roster
        kept = {member.name for member in roster.members if self._keeps(member)}
        for name in self.sessions.keys() - kept:
            session = self.sessions.pop(name)
            self.counters.add(session.totals())
            self._trunks.discard(session)
        for member in roster.members:
            session = self.sessions.get(member.name) or Session(member, self._rate, self._own, now)
            self.sessions[member.name] = session
            session.configure(member, roster.table)
            if self._codec is not None:
                session.attach(self._codec)
        self._carriers.configure(roster)
        for guest in list(self._board.guests):
            if guest.session is not None and not self._reception.allows(guest):
                self._end(guest, NO_LONGER, now)

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self._codec = codec
        for session in self.sessions.values():
            session.attach(codec)

    def receive(self, arrivals: Sequence[Arrival], now: float) -> list[Frame]:
        """Take UDP datagrams and return what to write to the TUN."""
        frames: list[Frame] = []
        for guest, batch in self._board.route(arrivals, now):
            if guest.gone:
                # It gave its place to one that came later in these arrivals.
                continue
            self._touched[guest] = None
            # What came together with the registration came too early.
            session = guest.session
            payloads = guest.connection.open(self._within_budget(guest, batch, now), now)
            self._handle_events(guest, now)
            if payloads and guest.legacy and session is None:
                payloads = self._introduce(guest, payloads, now)
                session = guest.session
            if not payloads:
                continue
            if session is None:
                self.counters.drops["not_registered"] += len(payloads)
                continue
            if guest.gathering is None:
                accepted = session.path.lane.accept(payloads)
            else:
                accepted = self._trunks.accept(guest, session, payloads, now)
            if session.member.shared:
                self._learn(session, accepted, now)
            frames += accepted
        if self._released:
            released, self._released = self._released, []
            frames += released
        return frames

    def send(self, reads: Sequence[bytes], now: float) -> None:
        """Take reads of the TUN: each goes to the peer that owns its destination."""
        if self._codec is None:
            return
        at = self._codec.header
        owner, sessions, drops = self._roster.table.owner, self.sessions, self.counters.drops
        batches: dict[str, list[bytes]] = {}
        for read in reads:
            version = read[at] >> 4 if len(read) > at else 0
            destination = read[at + 16 : at + 20] if version == _IPV4 else read[at + 24 : at + 40]
            member = owner(destination)
            if member is None:
                drops["no_peer"] += 1
            else:
                batches.setdefault(member.name, []).append(read)
        for name, batch in batches.items():
            session = sessions.get(name)
            if session is not None:
                self._offer(session, batch, now)
            else:
                self._offer_shared(name, batch, at, now)

    def answers(self) -> list[Frame]:
        """Return what else to write to the TUN: answers to packets that did not fit, and packets that had to wait."""
        frames, self._released = self._released, []
        for guest in self._touched:
            if guest.path is not None:
                frames += guest.path.fit.answers()
        return frames

    def too_big(self, now: float) -> None:
        """Note that the kernel called a datagram too big (EMSGSIZE), a hint that a path carries less."""
        for guest in self._flushed:
            if guest.gone:
                continue
            self._touched[guest] = None
            if guest.path is not None:
                guest.path.fit.hint(now)
            else:
                lower = pmtu.rungs(guest.connection.datagram_size)
                if lower:
                    guest.mirror(lower[0])

    def flush(self, now: float) -> list[Datagram]:
        """Return the UDP datagrams that are to be sent now. Call after every batch."""
        datagrams, self._farewell, self._board.answers = self._farewell + self._board.answers, [], []
        trunks = self._trunks
        if trunks.stirred:
            self._changes += trunks.settle()
        self._flushed, self._touched = self._touched, {}
        for guest in self._flushed:
            if guest.gone:
                continue
            path = guest.path
            if path is not None:
                datagrams += path.lane.flush(guest.connection, now)
            else:
                sealed = _sealed(guest, now)
                if not sealed and not guest.answered:
                    # What started it was no Initial that could be decrypted.
                    self.counters.drops["malformed"] += 1
                    self._release(guest)
                    continue
                guest.answered = True
                datagrams += sealed
            self._schedule.put(guest, guest.deadline())
            if guest.number and guest.session is not None:
                trunks.stir(guest.session)
        if trunks.stirred:
            trunks.plan()
        return datagrams

    def fire(self, now: float) -> None:
        """Run what is due."""
        for guest in self._schedule.due(now):
            if guest.gone:
                continue
            self._touched[guest] = None
            guest.connection.fire(now)
            if guest.path is not None and guest.path.fit.fire(now):
                self._mtu_is_known = False
            self._handle_events(guest, now)
            if guest.gone:
                continue
            if now >= guest.expires:
                self._expire(guest, now)
            elif guest.liveness is not None and guest.liveness.check(now) is Verdict.DEAD:
                # No probes from here: the client probes, and QUIC repeats what is outstanding.
                self._end(guest, f"no acknowledgement for {guest.liveness.limit():.1f} s", now)
        self._trunks.fire(now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        return min(self._schedule.next(), self._trunks.deadline())

    def close(self, now: float) -> None:
        """End every connection politely: flush() afterwards returns the goodbyes."""
        for guest in list(self._board.guests):
            self._end(guest, "server stops", now)
        self._enter("stopped", "told to stop", now)

    def changes(self) -> list[Change]:
        """Return what happened since the last call, for the log."""
        for guest in self._flushed:
            path, session = guest.path, guest.session
            if path is not None and session is not None:
                for change in path.lane.changes():
                    detail = f"peer={session.member.name}" + (f" name={path.name}" if path.name else "")
                    self._changes.append(replace(change, detail=detail))
        changes, self._changes = self._changes, []
        return changes

    def _within_budget(self, guest: Guest, batch: Sequence[Arrival], now: float) -> Sequence[Arrival]:
        """Return what a peer may send, and what a connection may before it is a peer's."""
        session = guest.session
        if session is None:
            before, guest.heard = guest.heard, guest.heard + sum([wire.count(arrival) for arrival in batch])
            if guest.heard <= MAX_UNREGISTERED:
                return batch
            self.counters.drops["unregistered_flood"] += guest.heard - before
            return []
        admitted, refused = session.budget.admit(batch, now)
        if refused:
            session.counters.drops["budget"] += refused
            if guest.path is not None:
                # The acknowledgement that is waited for may be among them.
                guest.connection.clock.restart(now)
        return admitted

    # --- where packets go -------------------------------------------------------------------------------------------

    def _offer(self, session: Session, reads: Sequence[bytes], now: float) -> None:
        bundle = session.bundle
        if bundle is not None:
            self._trunks.stir(session, bundle.send(reads, now))
            return
        path = session.path
        path.lane.offer(reads, path.connection, now)
        if path.connection is not None:
            self._touched[session.guests[0]] = None

    def _offer_shared(self, name: str, reads: Sequence[bytes], at: int, now: float) -> None:
        """Hand each packet to the member that carried its flow last, or to the first one that is up."""
        up = [owner.name for owner in self._roster.shared[name].owners if self.sessions[owner.name].guests]
        for member, batch in self._carriers.sort(name, reads, at, up, now).items():
            self._offer(self.sessions[member], batch, now)

    def _learn(self, session: Session, frames: Sequence[Frame], now: float) -> None:
        assert self._codec is not None
        self._carriers.learn(session.member.name, frames, self._codec.header, now)

    def _touch(self, guest: Guest) -> None:
        self._touched[guest] = None

    def _late(self, session: Session, frames: list[Frame], now: float) -> None:
        """Keep for the next call what had waited for others."""
        if session.member.shared:
            self._learn(session, frames, now)
        self._released += frames

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
                    self._refuse_legacy(guest, refusal.reason, now)
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
            self._refuse_legacy(guest, refusal.reason, now)
            return []
        if guest.session is not None:
            self._activate(guest, guest.session, now)
        return left

    def _keeps(self, member: Member) -> bool:
        """Tell whether a member has a session that can go on: it speaks the same protocol as before."""
        session = self.sessions.get(member.name)
        return session is not None and session.legacy == bool(member.sources)

    def _refuse(self, guest: Guest, refusal: RefusalError, now: float) -> None:
        """Say no, and leave the client a moment to read it."""
        self._tell_refused(guest, refusal.reason)
        if guest.session is not None:
            # It was registered, and broke the protocol since.
            self._end(guest, refusal.reason, now)
            return
        guest.connection.control(guest.registration.refuse(refusal.code, refusal.reason))
        guest.expires = min(guest.expires, now + REFUSED_STAYS)

    def _refuse_legacy(self, guest: Guest, reason: str, now: float) -> None:
        self._tell_refused(guest, reason)
        self._end(guest, "refused", now)

    def _tell_refused(self, guest: Guest, reason: str) -> None:
        self.counters.drops["refused"] += 1
        name = self._reception.name_of(guest)
        detail = [
            f"remote={text(guest.connection.peer)}",
            *([f"key={guest.connection.claimed}"] if guest.connection.claimed else []),
            *([f"peer={name}"] if name else []),
        ]
        self._changes.append(Change("refused", reason, failed=True, detail=" ".join(detail)))

    # --- becoming and ending a tunnel -------------------------------------------------------------------------------

    def _activate(self, guest: Guest, session: Session, now: float) -> None:
        """Let a connection that is confirmed be the tunnel, or one path of it."""
        gathering, join = guest.gathering, guest.registration.join
        if gathering is None or join is None:
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
        former = session.open(gathering, now)
        gone = session.follow(gathering, said, policy, now) if policy is not None else []
        for guest in gone:
            guest.linger(now)
            self._touched[guest] = None
        if gone:
            self._left(session, PATH_REMOVED, now)
        self._trunks.stir(session)
        return former

    def _closed(self, guest: Guest, event: Closed, now: float) -> None:
        if guest.session is None and not guest.registration.refused:
            if event.by_peer:
                self.counters.drops["handshake_left"] += 1
            else:
                self._tell_refused(guest, event.reason)
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
            self._tell_refused(guest, _NO_REGISTRATION)
            self._end(guest, _NO_REGISTRATION, now)

    def _end(self, guest: Guest, reason: str, now: float) -> None:
        session, active = guest.session, guest.active
        if session is not None:
            session.leave(guest, reason, now)
        self._forget(guest, reason, now)
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
        if session is self._latest:
            self._latest = next(iter(self._active()), None)
        detail = f"peer={session.member.name}"
        if self._latest is None:
            self._enter("listening", reason, now, failed=True, detail=detail)
        else:
            self._changes.append(Change("listening", reason, failed=True, detail=detail))

    def _forget(self, guest: Guest, reason: str, now: float) -> None:
        guest.connection.close(reason)
        self._farewell += _sealed(guest, now)
        self._release(guest)

    def _release(self, guest: Guest) -> None:
        self._board.release(guest)
        self._schedule.discard(guest)

    def _active(self) -> Iterable[Session]:
        return (session for session in self.sessions.values() if session.guests)

    def _enter(self, state: str, reason: str, now: float, *, failed: bool = False, detail: str = "") -> None:
        if state != self.state:
            self.since = now
        self.state = state
        self.reason = reason
        self._changes.append(Change(state, reason, failed, detail))


def _sealed(guest: Guest, now: float) -> list[Datagram]:
    """Return what a connection has to say beside inner packets."""
    datagrams = guest.connection.seal([], now)[0]
    return datagrams if guest.session is None else guest.session.path.lane.others(datagrams)
