# SPDX-License-Identifier: GPL-3.0-or-later
"""From UDP datagrams to the connections of a server, by connection id; and to new connections, if they are admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import admission, wire
from mpquic.core.admission import Admission
from mpquic.core.guest import Guest

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.connection import Listener
    from mpquic.core.strays import Strays
    from mpquic.core.types import Address, Arrival, Datagram


class Switchboard:
    """Knows every connection."""

    def __init__(self, listener: Listener, drops: Counter[str]) -> None:
        """Let ``listener`` make connections; count in ``drops`` what belongs to none."""
        self.listener = listener
        self.guests: set[Guest] = set()
        #: Answers to those who have no connection.
        self.answers: list[Datagram] = []
        #: What belongs to another process, None where there is none.
        self.strays: Strays | None = None
        self._drops = drops
        self._by_cid: dict[bytes, Guest] = {}
        self._admission = Admission()
        #: Connections that were begun.
        self.handshakes = 0

    def route(self, arrivals: Sequence[Arrival], now: float) -> list[tuple[Guest, list[Arrival]]]:
        """Group datagrams by connection; runs of the same connection, the normal case, share one group."""
        groups: list[tuple[Guest, list[Arrival]]] = []
        last: Guest | None = None
        by_cid = self._by_cid
        for arrival in wire.by_connection(arrivals):
            data = arrival[0]
            if wire.is_short(data):
                guest = by_cid.get(data[1 : 1 + wire.CID_LENGTH])
                if guest is None:
                    self._stray(arrival)
            else:
                guest = self._long(arrival, now)
            if guest is None:
                continue
            if guest is last:
                groups[-1][1].append(arrival)
            else:
                groups.append((guest, [arrival]))
                last = guest
        return groups

    def claim(self, guest: Guest, cid: bytes) -> None:
        """Route this connection id to ``guest`` from now on."""
        guest.cids.add(cid)
        self._by_cid[cid] = guest

    def disclaim(self, guest: Guest, cid: bytes) -> None:
        """Route it no more."""
        guest.cids.discard(cid)
        self._by_cid.pop(cid, None)

    def settle(self, guest: Guest) -> None:
        """Note that a connection is a peer's: it is half open no more, and its source is known."""
        self._leave_half_open(guest, familiar=True)

    def release(self, guest: Guest) -> None:
        """Forget a connection."""
        guest.gone = True
        self._leave_half_open(guest, familiar=False)
        for cid in guest.cids:
            self._by_cid.pop(cid, None)
        guest.cids.clear()
        self.guests.discard(guest)

    def _long(self, arrival: Arrival, now: float) -> Guest | None:
        """Find the connection of a long header packet, or start one, or say what must come first."""
        data, _size, address = arrival
        header = wire.long_header(data)
        if header is None:
            self._drops["malformed"] += 1
            return None
        known = self._by_cid.get(header.destination)
        if known is not None:
            if header.initial and len(data) >= wire.MIN_INITIAL and known.identity is None:
                known.mirror(len(data))
            return known
        if self.strays is not None and not header.initial:
            self._stray(arrival)
            return None
        retried = self.listener.redeem(header, address, now) if header.token else None
        verdict = self._admission.judge(header, len(data), str(address[0]), retried, now)
        if verdict == admission.RETRY:
            self._answer(self.listener.retry(header, address, now), address, "retry")
        elif verdict == admission.NEGOTIATE:
            self._answer(self.listener.versions(header), address, "version")
        elif verdict not in {admission.ACCEPT, admission.REPLACE}:
            self._drops[verdict] += 1
        else:
            if verdict == admission.REPLACE:
                self._give_up_one()
            guest = Guest(self.listener.accept(header.destination, now, retried), str(address[0]), now)
            guest.mirror(len(data))
            if self.strays is not None:
                guest.arrival = arrival
            self.guests.add(guest)
            self.handshakes += 1
            self._admission.enter(guest.host)
            self.claim(guest, header.destination)
            return guest
        return None

    def _stray(self, arrival: Arrival) -> None:
        """Put aside what belongs to no connection of this process."""
        if self.strays is None:
            self._drops["unknown_connection"] += 1
        else:
            self.strays.arrivals.append(arrival)

    def _give_up_one(self) -> None:
        """Drop the oldest half-open connection of the source that has the most; nobody is there to be told."""
        source = self._admission.greediest()
        theirs = [guest for guest in self.guests if guest.counted and admission.source_of(guest.host) == source]
        self._drops["half_open_replaced"] += 1
        self.release(min(theirs, key=lambda guest: guest.since))

    def _answer(self, datagram: bytes, address: Address, reason: str) -> None:
        self._drops[reason] += 1
        self.answers.append((datagram, address))

    def _leave_half_open(self, guest: Guest, *, familiar: bool) -> None:
        if guest.counted:
            guest.counted = False
            self._admission.leave(guest.host, familiar=familiar)
