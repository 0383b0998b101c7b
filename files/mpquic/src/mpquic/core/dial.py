# SPDX-License-Identifier: GPL-3.0-or-later
"""One attempt of a client: a connection, from its first Initial to its registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import pmtu, wire
from mpquic.core.capsules import ProtocolError
from mpquic.core.messages import Registered
from mpquic.core.registration import ClientRegistration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.types import Arrival, Network


class RefusedError(Exception):
    """The server does not register this client; the text says why."""


class Dial:
    """A connection on its way up. ``registration`` is None for a server that knows none."""

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
        self._registration: ClientRegistration | None = None

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

    def register(self, number: bytes, prefixes: Sequence[Network]) -> None:
        """Ask for ``prefixes``, the TUN's address first, on a connection that is established."""
        self._registration = ClientRegistration(number, prefixes)
        self.connection.control(self._registration.opening())

    def answered(self, data: bytes) -> bool:
        """Take bytes of the control stream; tell whether they made this the tunnel. Raises RefusedError."""
        if self._registration is None:
            raise RefusedError("server spoke before the registration")
        try:
            answer = self._registration.receive(data)
        except ProtocolError as error:
            raise RefusedError(str(error)) from error
        if answer is None:
            return False
        if not isinstance(answer, Registered):
            raise RefusedError(f"server refused: {''.join(c if c.isprintable() else '?' for c in answer.reason)}")
        self.connection.control(self._registration.confirmation())
        return True
