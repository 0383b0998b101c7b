# SPDX-License-Identifier: GPL-3.0-or-later
"""The control stream's framing: capsules of a type, a length and a value (RFC 9297 section 3.2)."""

from __future__ import annotations

from mpquic.core.wire import varint

#: Longest value that is taken (bytes).
MAX_VALUE = 16384


class ProtocolError(Exception):
    """A peer said what the protocol does not allow; the text says what, and what was expected."""


def encode_varint(number: int) -> bytes:
    """Return a number below 2^62 as a variable-length integer (RFC 9000 section 16)."""
    for prefix, size in enumerate((1, 2, 4, 8)):
        if number < 1 << (8 * size - 2):
            return (number | prefix << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(number)


def encode(kind: int, value: bytes) -> bytes:
    """Return one capsule."""
    return encode_varint(kind) + encode_varint(len(value)) + value


class CapsuleReader:
    """Cuts a byte stream into capsules, however it arrives."""

    def __init__(self) -> None:
        """Start at the beginning of a stream."""
        self._buffer = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take the next bytes and return the capsules that are complete: type and value.

        Raises ProtocolError for a value longer than MAX_VALUE, before its bytes are waited for.
        """
        buffer = self._buffer + data
        at, capsules = 0, []
        while True:
            kind, kind_size = varint(buffer[at : at + 8])
            length, length_size = varint(buffer[at + kind_size : at + kind_size + 8]) if kind_size else (0, 0)
            if length_size == 0:
                break
            if length > MAX_VALUE:
                raise ProtocolError(f"capsule 0x{kind:x}: found {length} bytes, expected at most {MAX_VALUE}")
            start = at + kind_size + length_size
            if len(buffer) - start < length:
                break
            capsules.append((kind, buffer[start : start + length]))
            at = start + length
        self._buffer = buffer[at:]
        return capsules
