# SPDX-License-Identifier: GPL-3.0-or-later
"""How a client gets its addresses: the exchange on the control stream, one object for each end.

client                                   server
  HELLO, REGISTER(id, prefixes)  ------->  may this key have them?
            <-------  HELLO, REGISTERED(id, prefixes)   or  HELLO, REFUSED(id, code, reason)
  CONFIRM(id)                    ------->  this connection is the tunnel now

A connection that is one path of several says JOIN in place of REGISTER, is answered with JOINED, and may say POLICY at
any time after CONFIRM. A server that is being replaced says RENEW at any time after its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from mpquic.core import messages
from mpquic.core.capsules import CapsuleReader, ProtocolError
from mpquic.core.messages import Confirm, Hello, Join, Joined, PolicyUpdate, Refused, Register, Registered, Renew

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.messages import Message
    from mpquic.core.types import Network

#: Bytes that one end may send on a control stream in the life of a connection: nothing honest comes near.
MAX_CONTROL = 65536


class _End:
    """Reads messages, HELLO first, and settles the version."""

    #: The versions this end speaks.
    versions = messages.VERSIONS

    def __init__(self) -> None:
        self._reader = CapsuleReader()
        self._received = 0
        #: The version settled upon, 0 before HELLO.
        self._version = 0

    def _read(self, data: bytes) -> list[Message]:
        self._received += len(data)
        if self._received > MAX_CONTROL:
            raise ProtocolError(f"control stream: found more than {MAX_CONTROL} bytes")
        found: list[Message] = []
        for kind, value in self._reader.feed(data):
            message = messages.decode(kind, value)
            if message is None:
                continue
            if isinstance(message, Hello) == bool(self._version):
                raise ProtocolError("control stream: expected HELLO first, and once")
            if isinstance(message, Hello):
                # Before anything else is read: a later version's messages need not look like ours.
                self._version = settle(message, self.versions)
            else:
                found.append(message)
        return found


class VersionError(ProtocolError):
    """The two ends have no version in common."""


def settle(hello: Hello, versions: tuple[int, int] = messages.VERSIONS) -> int:
    """Return the version that both ends speak. Raises VersionError."""
    lowest, highest = versions
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
        #: The server asked for another connection in place of this one.
        self.renewal = False

    def opening(self) -> bytes:
        """Return what to send as soon as the handshake is complete."""
        return Hello(*self.versions).encode() + self._request()

    def receive(self, data: bytes) -> Registered | Joined | Refused | None:
        """Take bytes of the server; return its answer when it came. Raises ProtocolError."""
        answer: Registered | Joined | Refused | None = None
        for message in self._read(data):
            if isinstance(message, Renew) and self._settled:
                self.renewal = True
            elif self._settled:
                raise ProtocolError("control stream: found a message after the answer, expected nothing")
            elif (self._granted(message) and message.id == self._id) or (
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
        """Return what to send after the server has said yes."""
        return Confirm(self._id).encode()

    def _request(self) -> bytes:
        return Register(self._id, 0, self._prefixes).encode()

    @staticmethod
    def _granted(message: Message) -> TypeGuard[Registered | Joined]:
        return isinstance(message, Registered)


class ClientJoin(ClientRegistration):
    """The client's end of a connection that is one path of several."""

    versions = (messages.MULTIPATH, messages.MULTIPATH)

    def __init__(self, number: bytes, prefixes: Sequence[Network], *, session: bytes, path: int, policy: bytes) -> None:
        """Ask for ``prefixes`` as with every other path of ``session``: 16 bytes, random for each start of a client.

        ``path`` is this path's number (1 to 255) in ``policy`` (mpquic.core.multipath.policy_wire).
        """
        super().__init__(number, prefixes)
        self._session = session
        self._path = path
        self._policy = policy

    def _request(self) -> bytes:
        return Join(self._id, self._session, self._path, self._prefixes, self._policy).encode()

    @staticmethod
    def _granted(message: Message) -> TypeGuard[Registered | Joined]:
        return isinstance(message, Joined)


class ServerRegistration(_End):
    """The server's end: hands on Register or Join once, then Confirm once, then what policies come after Join."""

    def __init__(self) -> None:
        """Wait for a client."""
        super().__init__()
        self._request: Register | Join | None = None
        self._confirmed = False
        #: It was said no: nothing more is read.
        self.refused = False

    @property
    def prefixes(self) -> tuple[Network, ...]:
        """What the client asked for, nothing before it did."""
        return self._request.prefixes if self._request is not None else ()

    @property
    def join(self) -> Join | None:
        """What the client asked for, if it is to be one path of several."""
        return self._request if isinstance(self._request, Join) else None

    def receive(self, data: bytes) -> list[Register | Join | Confirm | PolicyUpdate]:
        """Take bytes of the client and return what it wants. Raises ProtocolError, VersionError."""
        wanted: list[Register | Join | Confirm | PolicyUpdate] = []
        for message in self._read(data):
            if isinstance(message, (Register, Join)) and self._request is None:
                self._check(message)
                self._request = message
                wanted.append(message)
            elif isinstance(message, Confirm) and self._request is not None and not self._confirmed:
                if message.id != self._request.id:
                    raise ProtocolError("CONFIRM: found another id, expected that of the registration")
                self._confirmed = True
                wanted.append(message)
            elif isinstance(message, PolicyUpdate) and self._confirmed and self.join is not None:
                wanted.append(message)
            else:
                raise ProtocolError(f"control stream: found {type(message).__name__} out of order")
        return wanted

    def accept(self, prefixes: Sequence[Network], epoch: bytes | None = None) -> bytes:
        """Return the answer that registers the client with these prefixes; with ``epoch``, as Joined says it."""
        hello, granted = Hello(*self.versions).encode(), tuple(prefixes)
        if epoch is None:
            return hello + Registered(self._id, granted).encode()
        return hello + Joined(self._id, epoch, granted).encode()

    def refuse(self, code: int, reason: str) -> bytes:
        """Return the answer that says no."""
        self.refused = True
        return Hello(*self.versions).encode() + Refused(self._id, code, reason).encode()

    @property
    def _id(self) -> bytes:
        return self._request.id if self._request is not None else messages.NO_ID

    def _check(self, message: Register | Join) -> None:
        what = type(message).__name__.upper()
        if isinstance(message, Join) and self._version < messages.MULTIPATH:
            raise ProtocolError(f"{what}: found version {self._version}, expected {messages.MULTIPATH}")
        first = message.prefixes[0]
        if first.prefixlen != first.max_prefixlen:
            raise ProtocolError(f"{what}: first prefix: found {first}, expected a single address, that of the TUN")
