# SPDX-License-Identifier: GPL-3.0-or-later
"""One attempt of a client: a connection, from its first Initial to its registration; and the few it has at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mpquic.core import pmtu, wire
from mpquic.core.capsules import ProtocolError
from mpquic.core.messages import Refused
from mpquic.core.registration import MAX_CONTROL

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.messages import Joined, Registered
    from mpquic.core.types import Arrival


class RefusedError(Exception):
    """The server does not register this client; the text says why."""


class Registration(Protocol):
    """What a client says on the control stream to become somebody, and what it is told."""

    #: The server asked for another connection in place of this one.
    renewal: bool

    def opening(self) -> bytes:
        """Return what to send as soon as the handshake is complete."""

    def receive(self, data: bytes) -> Registered | Joined | Refused | None:
        """Take bytes of the server; return its answer when it came. Raises ProtocolError."""

    def confirmation(self) -> bytes:
        """Return what to send after the server said yes."""


class Dial:
    """A connection on its way up. It never registers at a server that knows no registration."""

    def __init__(self, connection: Connection, size: int | None, ends: float) -> None:
        """Begin in datagrams of ``size`` bytes, None for the largest; give up at ``ends`` (seconds)."""
        self.connection = connection
        self.ends = ends
        #: UDP payloads: the largest that may be sent, the largest of this attempt.
        self.ceiling = self.tried = connection.datagram_size
        if size is not None and size < self.ceiling:
            self.tried = size
            connection.set_datagram_size(size)
        #: The server has answered.
        self.heard = False
        #: Of a path beside others: the server's end of the tunnel that granted it; see mpquic.core.multipath.client.
        self.epoch = b""
        #: That the server asked for another connection was heeded.
        self.heeded = False
        self._registration: Registration | None = None
        #: Bytes on the control stream so far.
        self._said = 0

    def hear(self, arrivals: Sequence[Arrival]) -> None:
        """Take the size of the server's answer: it got an Initial as large, so both directions carry it."""
        for data, size, _address in arrivals:
            for at in range(0, len(data), size or 1):
                datagram = data[at : at + size]
                if not wire.is_initial(datagram) or not pmtu.BASE <= len(datagram) <= self.tried:
                    continue
                if not self.heard or len(datagram) > self.connection.datagram_size:
                    self.heard = True
                    self.connection.set_datagram_size(len(datagram))

    def shrink(self, now: float) -> None:
        """Make the next Initial smaller if one is due.

        It is padded to the size of that moment (RFC 9000 section 14.1): a smaller one each time, so that a narrow path
        costs no attempt.
        """
        if not self.heard and now >= self.connection.deadline():
            lower = pmtu.rungs(self.connection.datagram_size)
            if lower:
                self.connection.set_datagram_size(lower[0])

    def register(self, registration: Registration) -> None:
        """Ask for what ``registration`` does, on a connection that is established."""
        self._registration = registration
        self.say(registration.opening())

    def answered(self, data: bytes) -> Registered | Joined | None:
        """Take bytes of the control stream; return the server's yes when it came. Raises RefusedError."""
        if self._registration is None:
            raise RefusedError("server spoke before the registration")
        try:
            answer = self._registration.receive(data)
        except ProtocolError as error:
            raise RefusedError(str(error)) from error
        if isinstance(answer, Refused):
            raise RefusedError(f"server refused: {''.join(c if c.isprintable() else '?' for c in answer.reason)}")
        return answer

    @property
    def outdated(self) -> bool:
        """Tell whether the server asked for another connection in place of this one."""
        return self._registration is not None and self._registration.renewal

    def confirm(self) -> None:
        """Tell the server that its yes arrived."""
        assert self._registration is not None
        self.say(self._registration.confirmation())

    def say(self, data: bytes) -> bool:
        """Append to the control stream; False, and nothing done, if that is more than a connection may ever carry."""
        if self._said + len(data) > MAX_CONTROL:
            return False
        self._said += len(data)
        self.connection.control(data)
        return True


class Dials:
    """The connections of one client over one socket. There is one but for renewals and silence."""

    def __init__(self, drops: Counter[str]) -> None:
        """Count in ``drops`` what belongs to none."""
        #: The tunnel; what may become it; what was, and until when it is heard (seconds).
        self.current: Dial | None = None
        #: What was the tunnel until nothing answered any more, and is it again if that answers before ``fresh``.
        self.silent: Dial | None = None
        self.fresh: Dial | None = None
        self.former: dict[Dial, float] = {}
        self._drops = drops
        self._by_cid: dict[bytes, Dial] = {}

    def all(self) -> list[Dial]:
        """Return all of them."""
        return [dial for dial in (self.current, self.silent, self.fresh, *self.former) if dial is not None]

    def claim(self, cid: bytes, dial: Dial) -> None:
        """Route this connection id to ``dial`` from now on."""
        self._by_cid[cid] = dial

    def disclaim(self, cid: bytes) -> None:
        """Route it no more."""
        self._by_cid.pop(cid, None)

    def drop(self, dial: Dial) -> None:
        """Forget one."""
        self.former.pop(dial, None)
        if dial is self.current:
            self.current = None
        if dial is self.silent:
            self.silent = None
        if dial is self.fresh:
            self.fresh = None
        self._by_cid = {cid: other for cid, other in self._by_cid.items() if other is not dial}

    def route(self, arrivals: Sequence[Arrival]) -> list[tuple[Dial, Sequence[Arrival]]]:
        """Group datagrams by connection."""
        dials = self.all()
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
                self._drops["unknown_connection"] += 1
            elif groups and groups[-1][0] is dial:
                batch.append(arrival)
            else:
                batch = [arrival]
                groups.append((dial, batch))
        return groups
