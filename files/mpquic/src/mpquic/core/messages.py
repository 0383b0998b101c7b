# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control stream's capsules say. Bytes after the fields known here are ignored: room for later versions."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from mpquic.core.capsules import ProtocolError, encode, encode_varint
from mpquic.core.wire import varint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpquic.core.types import Network

HELLO = 0x6D7101
REGISTER = 0x6D7102
REGISTERED = 0x6D7103
REFUSED = 0x6D7104
CONFIRM = 0x6D7105

#: Versions of the control protocol spoken here.
VERSIONS = (1, 1)
#: Length of the id that ties an answer to its registration (bytes).
ID_LENGTH = 16
#: What a refusal without a registration carries.
NO_ID = bytes(ID_LENGTH)
#: Prefixes in one message, bytes of a refusal's reason.
MAX_PREFIXES = 64
MAX_REASON = 256

#: Codes of a refusal.
VERSION, NOT_A_PEER, NOT_ALLOWED, MALFORMED = 1, 2, 3, 4

_ADDRESS_LENGTHS = {4: 4, 6: 16}


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


Message = Hello | Register | Registered | Refused | Confirm


def decode(kind: int, value: bytes) -> Message | None:
    """Return what a capsule says, None for a type that is unknown here. Raises ProtocolError."""
    reader = _Reader(kind, value)
    if kind == HELLO:
        return Hello(reader.varint("minimum version"), reader.varint("maximum version"))
    if kind == REGISTER:
        return Register(reader.take(ID_LENGTH, "id"), reader.varint("path"), reader.prefixes())
    if kind == REGISTERED:
        return Registered(reader.take(ID_LENGTH, "id"), reader.prefixes())
    if kind == REFUSED:
        number, code = reader.take(ID_LENGTH, "id"), reader.varint("code")
        reason = reader.take(reader.varint("reason length"), "reason")
        return Refused(number, code, reason[:MAX_REASON].decode(errors="replace"))
    if kind == CONFIRM:
        return Confirm(reader.take(ID_LENGTH, "id"))
    return None


def _encode_prefixes(prefixes: Iterable[Network]) -> bytes:
    """Return IP version, address and prefix length of each (as in RFC 9484 section 4.7.1), after their number."""
    parts = [bytes([prefix.version]) + prefix.network_address.packed + bytes([prefix.prefixlen]) for prefix in prefixes]
    return encode_varint(len(parts)) + b"".join(parts)


class _Reader:
    """Takes fields off the front of a value."""

    def __init__(self, kind: int, value: bytes) -> None:
        self._kind = kind
        self._value = value
        self._at = 0

    def take(self, size: int, what: str) -> bytes:
        found = self._value[self._at : self._at + size]
        if len(found) < size:
            raise self._error(what, f"{len(found)} bytes", f"{size} bytes")
        self._at += size
        return found

    def varint(self, what: str) -> int:
        number, size = varint(self._value[self._at : self._at + 8])
        if size == 0:
            raise self._error(what, "the end", "an integer")
        self._at += size
        return number

    def prefixes(self) -> tuple[Network, ...]:
        count = self.varint("number of prefixes")
        if not 1 <= count <= MAX_PREFIXES:
            raise self._error("number of prefixes", str(count), f"1 to {MAX_PREFIXES}")
        return tuple([self._prefix() for _index in range(count)])

    def _prefix(self) -> IPv4Network | IPv6Network:
        version = self.take(1, "IP version")[0]
        if version not in _ADDRESS_LENGTHS:
            raise self._error("IP version", str(version), "4 or 6")
        address = self.take(_ADDRESS_LENGTHS[version], "address")
        length = self.take(1, "prefix length")[0]
        try:
            return ip_network((address, length))
        except ValueError as error:
            raise self._error("prefix", str(error), "a network without host bits") from error

    def _error(self, what: str, found: str, expected: str) -> ProtocolError:
        return ProtocolError(f"capsule 0x{self._kind:x}: {what}: found {found}, expected {expected}")
