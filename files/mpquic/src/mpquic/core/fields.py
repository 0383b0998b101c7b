# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of what is said on the control stream: numbers, prefixes and bytes, taken off the front of a value."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from mpquic.core.capsules import ProtocolError, encode_varint
from mpquic.core.wire import varint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpquic.core.types import Network

_ADDRESS_LENGTHS = {4: 4, 6: 16}


def prefixes(networks: Iterable[Network]) -> bytes:
    """Return IP version, address and prefix length of each, one after the other (as in RFC 9484 section 4.7.1)."""
    return b"".join([bytes([net.version]) + net.network_address.packed + bytes([net.prefixlen]) for net in networks])


def counted(parts: list[bytes]) -> bytes:
    """Return parts after their number."""
    return encode_varint(len(parts)) + b"".join(parts)


class Reader:
    """Takes fields off the front of a value. Every fault is a ProtocolError that names the field."""

    def __init__(self, where: str, value: bytes) -> None:
        """Begin at the start of ``value``, which people know as ``where``."""
        self.where = where
        self._value = value
        self._at = 0

    def take(self, size: int, what: str) -> bytes:
        """Return the next bytes."""
        found = self._value[self._at : self._at + size]
        if len(found) < size:
            raise self.error(what, f"{len(found)} bytes", f"{size} bytes")
        self._at += size
        return found

    def byte(self, what: str, least: int = 0, most: int = 255) -> int:
        """Return the next byte, a number between these."""
        return self._within(self.take(1, what)[0], what, least, most)

    def varint(self, what: str, least: int = 0, most: int = (1 << 62) - 1) -> int:
        """Return the next variable-length integer (RFC 9000 section 16), a number between these."""
        number, size = varint(self._value[self._at : self._at + 8])
        if size == 0:
            raise self.error(what, "the end", "an integer")
        self._at += size
        return self._within(number, what, least, most)

    def prefix(self) -> Network:
        """Return the next prefix."""
        version = self.take(1, "IP version")[0]
        if version not in _ADDRESS_LENGTHS:
            raise self.error("IP version", str(version), "4 or 6")
        address = self.take(_ADDRESS_LENGTHS[version], "address")
        length = self.take(1, "prefix length")[0]
        try:
            return ip_network((address, length))
        except ValueError as error:
            raise self.error("prefix", str(error), "a network without host bits") from error

    def error(self, what: str, found: str, expected: str) -> ProtocolError:
        """Return the fault of a field."""
        return ProtocolError(f"{self.where}: {what}: found {found}, expected {expected}")

    def _within(self, number: int, what: str, least: int, most: int) -> int:
        if not least <= number <= most:
            raise self.error(what, str(number), f"{least} to {most}")
        return number
