# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a connection is: what it proved, what it asks for, and whether that would be granted today."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import messages
from mpquic.core.capsules import ProtocolError
from mpquic.core.messages import Join, Register
from mpquic.core.registration import VersionError
from mpquic.core.roster import RefusalError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from mpquic.core.connection import Identity, Listener
    from mpquic.core.guest import Guest
    from mpquic.core.messages import Confirm, PolicyUpdate
    from mpquic.core.roster import Roster
    from mpquic.core.session import Session

#: Protocol of clients without identities (ALPN).
LEGACY_PROTOCOL = "mpquic-ip"
_IPV4 = 4


class Reception:
    """Finds the session of each connection. Who may not come in is told by a RefusalError."""

    def __init__(self, listener: Listener, roster: Roster, now: float) -> None:
        """Let in the peers of ``roster``."""
        #: By the member's name.
        self.sessions: dict[str, Session] = {}
        self.roster = roster
        self._listener = listener
        #: When what vouches for names was last changed.
        self._anchored = now

    def configure(self, listener: Listener, roster: Roster, guests: Iterable[Guest], now: float) -> None:
        """Let in these peers from now on. Those whose connections are up may have other names with other anchors."""
        if listener.anchors != self._listener.anchors:
            self._anchored = now
            for guest in guests:
                if guest.identity is not None:
                    guest.identity = listener.identify(guest.connection)
        self._listener = listener
        self.roster = roster

    def identify(self, guest: Guest, identity: Identity) -> None:
        """Take what a connection proved. A refusal is that of a legacy client."""
        if guest.since < self._anchored:
            # The handshake began when others were trusted.
            identity = self._listener.identify(guest.connection)
        guest.identity = identity
        if identity.protocol != LEGACY_PROTOCOL:
            return
        guest.legacy = True
        # It says who it is when it has something to send; until then it counts as half open.
        guest.confirmed()
        if self.roster.legacy(guest.host) is None:
            raise RefusalError(messages.NOT_A_PEER, "no legacy peer comes from this network")

    def hear(self, guest: Guest, identity: Identity, data: bytes) -> list[Confirm | PolicyUpdate]:
        """Take bytes of the control stream and answer to a registration; return what is to be done beside."""
        left: list[Confirm | PolicyUpdate] = []
        try:
            for wanted in guest.registration.receive(data):
                if isinstance(wanted, Register):
                    self._register(guest, identity, wanted)
                elif isinstance(wanted, Join):
                    self._join(guest, identity, wanted)
                else:
                    left.append(wanted)
        except VersionError as error:
            raise RefusalError(messages.VERSION, str(error)) from error
        except ProtocolError as error:
            raise RefusalError(messages.MALFORMED, str(error)) from error
        return left

    def introduce(self, guest: Guest, payloads: list[bytes], drops: Counter[str]) -> list[bytes]:
        """Learn who a legacy client is, from the address it says or sends from; return what is left to deliver."""
        for position, payload in enumerate(payloads):
            said = len(payload) == _IPV4
            if not said and (len(payload) < 20 or payload[0] >> 4 != _IPV4):
                drops["not_registered"] += 1
                continue
            member = self.roster.legacy(guest.host, payload if said else payload[12:16])
            if member is None:
                raise RefusalError(messages.NOT_ALLOWED, "its address belongs to no legacy peer from this network")
            guest.session = self.sessions[member.name]
            return payloads[position + said :]
        return []

    def allows(self, guest: Guest) -> bool:
        """Tell whether a registration would be accepted today as it was."""
        session, identity = guest.session, guest.identity
        if session is None or identity is None or self.sessions.get(session.member.name) is not session:
            return False
        if guest.legacy:
            return self.roster.legacy(guest.host, session.member.allowed[0].network_address.packed) is session.member
        try:
            return self.roster.claim(identity, guest.registration.prefixes) is session.member
        except RefusalError:
            return False

    def name_of(self, guest: Guest) -> str:
        """Return the names of the members that a connection may be of, for the log."""
        return self.roster.name_of(guest.identity) if guest.identity is not None else ""

    def _register(self, guest: Guest, identity: Identity, wanted: Register) -> None:
        member = self.roster.claim(identity, wanted.prefixes)
        guest.session = self.sessions[member.name]
        guest.connection.control(guest.registration.accept(member.prefixes))

    def _join(self, guest: Guest, identity: Identity, wanted: Join) -> None:
        member = self.roster.claim(identity, wanted.prefixes)
        session = self.sessions[member.name]
        gathering = session.gather(wanted.session)
        policy = gathering.news(wanted.policy)
        if policy is None:
            if wanted.path not in gathering.paths:
                raise RefusalError(
                    messages.NOT_ALLOWED, f"path {wanted.path} is not in the newest policy of its tunnel"
                )
        elif all(spec.number != wanted.path for spec in policy.paths):
            raise ProtocolError(f"JOIN: path: found {wanted.path}, expected the number of a path of its policy")
        guest.session, guest.gathering, guest.number = session, gathering, wanted.path
        guest.connection.control(guest.registration.accept(member.prefixes, gathering.epoch))
