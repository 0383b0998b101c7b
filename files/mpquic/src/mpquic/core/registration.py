# SPDX-License-Identifier: GPL-3.0-or-later
"""How a client gets its addresses: the exchange on the control stream, one object for each end.

client                                   server
  HELLO, REGISTER(id, prefixes)  ------->  may this key have them?
            <-------  HELLO, REGISTERED(id, prefixes)   or  HELLO, REFUSED(id, code, reason)
  CONFIRM(id)                    ------->  this connection is the tunnel now
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import messages
from mpquic.core.capsules import CapsuleReader, ProtocolError
from mpquic.core.messages import Confirm, Hello, Refused, Register, Registered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.messages import Message
    from mpquic.core.types import Network

#: Bytes that one end may send on a control stream in the life of a connection: nothing honest comes near.
MAX_CONTROL = 65536


class _End:
    """Reads messages, HELLO first, and settles the version."""

    def __init__(self) -> None:
        self._reader = CapsuleReader()
        self._received = 0
        self._greeted = False

    def _read(self, data: bytes) -> list[Message]:
        self._received += len(data)
        if self._received > MAX_CONTROL:
            raise ProtocolError(f"control stream: found more than {MAX_CONTROL} bytes")
        found: list[Message] = []
        for kind, value in self._reader.feed(data):
            message = messages.decode(kind, value)
            if message is None:
                continue
            if isinstance(message, Hello) == self._greeted:
                raise ProtocolError("control stream: expected HELLO first, and once")
            self._greeted = True
            if isinstance(message, Hello):
                # Before anything else is read: a later version's messages need not look like ours.
                settle(message)
            else:
                found.append(message)
        return found


class VersionError(ProtocolError):
    """The two ends have no version in common."""


def settle(hello: Hello) -> int:
    """Return the version both ends speak. Raises VersionError."""
    lowest, highest = messages.VERSIONS
    version = min(hello.maximum, highest)
    if version < max(hello.minimum, lowest):
        raise VersionError(f"found versions {hello.minimum} to {hello.maximum}, expected one of {lowest} to {highest}")
    return version


class ClientRegistration(_End):
    """The client's end."""

    def __init__(self, number: bytes, prefixes: Sequence[Network]) -> None:
        """Ask for ``prefixes``, the TUN's address first; ``number`` is the id of this registration, 16 random bytes."""
        super().__init__()
        self._id = number
        self._prefixes = tuple(prefixes)
        self._settled = False

    def opening(self) -> bytes:
        """Return what to send as soon as the handshake is complete."""
        return Hello(*messages.VERSIONS).encode() + Register(self._id, 0, self._prefixes).encode()

    def receive(self, data: bytes) -> Registered | Refused | None:
        """Take bytes of the server; return its answer when it came. Raises ProtocolError."""
        answer: Registered | Refused | None = None
        for message in self._read(data):
            if self._settled:
                raise ProtocolError("control stream: found a message after the answer, expected nothing")
            if (isinstance(message, Registered) and message.id == self._id) or (
                isinstance(message, Refused) and message.id in {self._id, messages.NO_ID}
            ):
                self._settled = True
                answer = message
            else:
                raise ProtocolError(
                    f"control stream: found {type(message).__name__}, expected the answer to this registration"
                )
        return answer

    def confirmation(self) -> bytes:
        """Return what to send after Registered."""
        return Confirm(self._id).encode()


class ServerRegistration(_End):
    """The server's end: hands on Register once, then Confirm once."""

    def __init__(self) -> None:
        """Wait for a client."""
        super().__init__()
        self._register: Register | None = None
        self._confirmed = False
        #: It was said no: nothing more is read.
        self.refused = False

    @property
    def prefixes(self) -> tuple[Network, ...]:
        """What the client asked for, nothing before it did."""
        return self._register.prefixes if self._register is not None else ()

    def receive(self, data: bytes) -> list[Register | Confirm]:
        """Take bytes of the client and return what it wants. Raises ProtocolError, VersionError."""
        wanted: list[Register | Confirm] = []
        for message in self._read(data):
            if isinstance(message, Register) and self._register is None:
                self._check(message)
                self._register = message
                wanted.append(message)
            elif isinstance(message, Confirm) and self._register is not None and not self._confirmed:
                if message.id != self._register.id:
                    raise ProtocolError("CONFIRM: found another id, expected that of the registration")
                self._confirmed = True
                wanted.append(message)
            else:
                raise ProtocolError(f"control stream: found {type(message).__name__} out of order")
        return wanted

    def accept(self, prefixes: Sequence[Network]) -> bytes:
        """Return the answer that registers the client with these prefixes."""
        return Hello(*messages.VERSIONS).encode() + Registered(self._id, tuple(prefixes)).encode()

    def refuse(self, code: int, reason: str) -> bytes:
        """Return the answer that says no."""
        self.refused = True
        return Hello(*messages.VERSIONS).encode() + Refused(self._id, code, reason).encode()

    @property
    def _id(self) -> bytes:
        return self._register.id if self._register is not None else messages.NO_ID

    @staticmethod
    def _check(message: Register) -> None:
        first = message.prefixes[0]
        if first.prefixlen != first.max_prefixlen:
            raise ProtocolError(f"REGISTER: first prefix: found {first}, expected a single address, that of the TUN")
