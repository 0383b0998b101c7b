# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control stream's capsules say. Bytes after the fields known here are ignored: room for later versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.core import fields
from mpquic.core.capsules import encode, encode_varint
from mpquic.core.fields import Reader

if TYPE_CHECKING:
    from mpquic.core.types import Network

HELLO = 0x6D7101
REGISTER = 0x6D7102
REGISTERED = 0x6D7103
REFUSED = 0x6D7104
CONFIRM = 0x6D7105
JOIN = 0x6D7106
JOINED = 0x6D7107
POLICY = 0x6D7108
RENEW = 0x6D7109

#: Versions of the control protocol spoken here. The second one has JOIN, JOINED and POLICY.
VERSIONS = (1, 2)
MULTIPATH = 2
#: Length of the id that ties an answer to its registration (bytes).
ID_LENGTH = 16
#: What a refusal without a registration carries.
NO_ID = bytes(ID_LENGTH)
#: Prefixes in one message, bytes of a refusal's reason, bytes of a policy.
MAX_PREFIXES = 64
MAX_REASON = 256
MAX_POLICY = 8192
#: Highest number of a path; the lowest is 1.
MAX_PATH = 255

#: Codes of a refusal.
VERSION, NOT_A_PEER, NOT_ALLOWED, MALFORMED = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Hello:
    """The versions its sender speaks, from ``minimum`` to ``maximum``."""

    minimum: int
    maximum: int

    def encode(self) -> bytes:
        """Return the capsule."""
        return encode(HELLO, encode_varint(self.minimum) + encode_varint(self.maximum))


@dataclass(frozen=True, slots=True)
class Register:
    """A client asks for its TUN address, the first prefix, and for the networks behind it."""

    id: bytes
    path: int
    prefixes: tuple[Network, ...]

    def encode(self) -> bytes:
        """Return the capsule."""
        return encode(REGISTER, self.id + encode_varint(self.path) + _encode_prefixes(self.prefixes))


@dataclass(frozen=True, slots=True)
class Registered:
    """What the server accepts from this client and sends to it."""

    id: bytes
    prefixes: tuple[Network, ...]

    def encode(self) -> bytes:
        """Return the capsule."""
        return encode(REGISTERED, self.id + _encode_prefixes(self.prefixes))


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no registration."""

    id: bytes
    code: int
    reason: str

    def encode(self) -> bytes:
        """Return the capsule."""
        # Not cut within a character.
        reason = self.reason.encode()[:MAX_REASON].decode(errors="ignore").encode()
        return encode(REFUSED, self.id + encode_varint(self.code) + encode_varint(len(reason)) + reason)


@dataclass(frozen=True, slots=True)
class Confirm:
    """The client has the answer: this connection is its tunnel from now on."""

    id: bytes

    def encode(self) -> bytes:
        """Return the capsule."""
        return encode(CONFIRM, self.id)


@dataclass(frozen=True, slots=True)
class Join:
    """A client asks for its addresses as with Register, and for this connection to be one path of several."""

    id: bytes
    #: What all connections of one tunnel have in common, made anew at each start of the client.
    session: bytes
    path: int
    prefixes: tuple[Network, ...]
    #: See mpquic.core.multipath.policy_wire.
    policy: bytes

    def encode(self) -> bytes:
        """Return the capsule."""
        head = self.id + self.session + encode_varint(self.path) + _encode_prefixes(self.prefixes)
        return encode(JOIN, head + encode_varint(len(self.policy)) + self.policy)


@dataclass(frozen=True, slots=True)
class Joined:
    """What Registered says; and which of the server's ends of this tunnel it is that was joined."""

    id: bytes
    #: Another one than before: the server has forgotten what was sent and received.
    epoch: bytes
    prefixes: tuple[Network, ...]

    def encode(self) -> bytes:
        """Return the capsule."""
        return encode(JOINED, self.id + self.epoch + _encode_prefixes(self.prefixes))


@dataclass(frozen=True, slots=True)
class PolicyUpdate:
    """How a client wants its packets spread from now on."""

    policy: bytes

    def encode(self) -> bytes:
        """Return the capsule."""
        return encode(POLICY, self.policy)


@dataclass(frozen=True, slots=True)
class Renew:
    """The server is being replaced by another process at the same address, which takes new connections only."""

    def encode(self) -> bytes:
        """Return the capsule."""
        return encode(RENEW, b"")


Message = Hello | Register | Registered | Refused | Confirm | Join | Joined | PolicyUpdate | Renew


def decode(kind: int, value: bytes) -> Message | None:
    """Return what a capsule says, None for a type that is unknown here. Raises ProtocolError."""
    reader = Reader(f"capsule 0x{kind:x}", value)
    if kind == HELLO:
        return Hello(reader.varint("minimum version"), reader.varint("maximum version"))
    if kind == REGISTER:
        return Register(reader.take(ID_LENGTH, "id"), reader.varint("path"), _prefixes(reader))
    if kind == REGISTERED:
        return Registered(reader.take(ID_LENGTH, "id"), _prefixes(reader))
    if kind == REFUSED:
        number, code = reader.take(ID_LENGTH, "id"), reader.varint("code")
        reason = reader.take(reader.varint("reason length"), "reason")
        return Refused(number, code, reason[:MAX_REASON].decode(errors="replace"))
    if kind == CONFIRM:
        return Confirm(reader.take(ID_LENGTH, "id"))
    return Renew() if kind == RENEW else _decode_multipath(kind, value, reader)


def _decode_multipath(kind: int, value: bytes, reader: Reader) -> Message | None:
    if kind == JOIN:
        number, session = reader.take(ID_LENGTH, "id"), reader.take(ID_LENGTH, "session")
        path, prefixes = reader.varint("path", 1, MAX_PATH), _prefixes(reader)
        policy = reader.take(reader.varint("policy length", 0, MAX_POLICY), "policy")
        return Join(number, session, path, prefixes, policy)
    if kind == JOINED:
        return Joined(reader.take(ID_LENGTH, "id"), reader.take(ID_LENGTH, "epoch"), _prefixes(reader))
    if kind == POLICY:
        if len(value) > MAX_POLICY:
            raise reader.error("policy", f"{len(value)} bytes", f"at most {MAX_POLICY}")
        return PolicyUpdate(value)
    return None


def _encode_prefixes(prefixes: tuple[Network, ...]) -> bytes:
    return encode_varint(len(prefixes)) + fields.prefixes(prefixes)


def _prefixes(reader: Reader) -> tuple[Network, ...]:
    count = reader.varint("number of prefixes", 1, MAX_PREFIXES)
    return tuple([reader.prefix() for _index in range(count)])
