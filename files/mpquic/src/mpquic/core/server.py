# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's end of its peers' tunnels, all on one port and one TUN device.

Datagrams are routed by connection id, inner packets by destination address.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mpquic.core import pmtu
from mpquic.core.carriers import Carriers
from mpquic.core.lifecycle import Lifecycle
from mpquic.core.liveness import Verdict
from mpquic.core.messages import Renew
from mpquic.core.session import Session
from mpquic.core.types import Change, Counters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.core.connection import Listener
    from mpquic.core.guest import Guest
    from mpquic.core.offload import Codec
    from mpquic.core.roster import Member, Roster
    from mpquic.core.strays import Strays
    from mpquic.core.types import Arrival, Datagram, Frame

#: Reason in a CONNECTION_CLOSE.
NO_LONGER = "no longer a peer"
_IPV4 = 4


class ServerTunnel(Lifecycle):
    """State machine of a server, driven by (now, event). Implements mpquic.core.port.Tunnel, and is its only port."""

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
        super().__init__(listener, roster, now)
        self._rate = rate
        self._own = own
        self._codec: Codec | None = None
        self._carriers = Carriers(roster)
        #: What the last flush() looked at.
        self._flushed: dict[Guest, None] = {}
        #: Packets that had waited for others.
        self._released: list[Frame] = []
        #: What belongs to another process, None where there is none.
        self._strays: Strays | None = None
        self._roster = roster
        self.configure(listener, roster, now)

    # --- what is asked about it -------------------------------------------------------------------------------------

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

    def totals(self) -> Counters:
        """Return what all tunnels carried and refused since the start."""
        totals = Counters()
        for counters in (self.counters, *(session.totals() for session in self.sessions.values())):
            totals.add(counters)
        return totals

    # --- what the shell reports -------------------------------------------------------------------------------------

    def configure(
        self,
        listener: Listener,
        roster: Roster,
        now: float,
        *,
        own: Sequence[IPv4Interface | IPv6Interface] | None = None,
    ) -> None:
        """Serve these peers from now on. Tunnels of those that stay what they are go on undisturbed.

        ``own`` are the TUN's addresses, None for no others than before.
        """
        if own is not None:
            self._own = own
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
            session.configure(member, roster.table, self._own)
            if self._codec is not None:
                session.attach(self._codec)
        self._carriers.configure(roster)
        for guest in list(self._board.guests):
            if guest.session is not None and not self._reception.allows(guest):
                self._end(guest, NO_LONGER, now)

    def follow_on(self, strays: Strays | None) -> None:
        """Put into ``strays`` what belongs to the process that was here before; with None there is none any more."""
        self._strays = self._board.strays = strays

    def ask_to_renew(self, count: int) -> bool:
        """Ask up to ``count`` clients for another connection; tell whether there are more to be asked."""
        asked = 0
        for guest in list(self._board.guests):
            if guest.outdated or not guest.active or guest.legacy:
                continue
            if asked == count:
                return True
            asked += 1
            guest.outdated = True
            guest.connection.control(Renew().encode())
            self._touched[guest] = None
        return False

    @property
    def deserted(self) -> bool:
        """Tell whether no peer has a connection."""
        return not self._board.guests

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
            payloads = guest.connection.open(guest.within_budget(batch, self.counters.drops, now), now)
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
            if self._strays is not None and not self._served_here(name):
                self._strays.reads += batch
            elif session is not None:
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
                sealed = guest.sealed(now)
                if not sealed and not guest.answered:
                    # What started it was no Initial that could be decrypted here.
                    if self._strays is not None and guest.arrival is not None:
                        self._strays.arrivals.append(guest.arrival)
                    else:
                        self.counters.drops["malformed"] += 1
                    self._release(guest)
                    continue
                guest.answered, guest.arrival = True, None
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

    def _keeps(self, member: Member) -> bool:
        """Tell whether a member has a session that can go on: it speaks the same protocol as before."""
        session = self.sessions.get(member.name)
        return session is not None and session.legacy == bool(member.sources)

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

    def _served_here(self, name: str) -> bool:
        """Tell whether a peer, or one of those who share a prefix, has a connection of this process."""
        shared = self._roster.shared.get(name)
        owners = [owner.name for owner in shared.owners] if shared is not None else [name]
        return any(self.sessions[owner].guests for owner in owners)

    def _offer_shared(self, name: str, reads: Sequence[bytes], at: int, now: float) -> None:
        """Hand each packet to the member that carried its flow last, or to the first one that is up."""
        up = [owner.name for owner in self._roster.shared[name].owners if self.sessions[owner.name].guests]
        for member, batch in self._carriers.sort(name, reads, at, up, now).items():
            self._offer(self.sessions[member], batch, now)

    def _learn(self, session: Session, frames: Sequence[Frame], now: float) -> None:
        assert self._codec is not None
        self._carriers.learn(session.member.name, frames, self._codec.header, now)

    def _late(self, session: Session, frames: list[Frame], now: float) -> None:
        """Keep for the next call what had waited for others."""
        if session.member.shared:
            self._learn(session, frames, now)
        self._released += frames
