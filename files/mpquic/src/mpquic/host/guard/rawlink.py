# SPDX-License-Identifier: GPL-3.0-or-later
"""A netlink socket that reads and changes rules and routes as whole messages, foreign ones too."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Self

from mpquic.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = struct.Struct("=IHHII")
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _EXCL, _CREATE, _DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
_ROUTE, _RULE = 24, 32
"""RTM_NEWROUTE and RTM_NEWRULE; the next number deletes, the one after that reads."""
_DUMP_INTERRUPTED = 0x10
_BUFFER = 1 << 20
#: Seconds until the kernel has answered.
_PATIENCE = 10.0
_TRIES = 5


class RawLink:
    """A netlink session in the caller's network namespace; use as a context manager.

    Raises:
        HostError: from any method, when the kernel refuses.

    """

    def __init__(self) -> None:
        """Open the session."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(_PATIENCE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the session."""
        self._socket.close()

    def rules(self, family: int) -> list[bytes]:
        """Return all rules of an address family."""
        return self._dump(_RULE, family)

    def routes(self, family: int) -> list[bytes]:
        """Return the routes of all tables of an address family."""
        return self._dump(_ROUTE, family)

    def add_rule(self, message: bytes) -> None:
        """Add a rule."""
        self._change(_RULE, _CREATE | _EXCL, message)

    def delete_rule(self, message: bytes) -> None:
        """Delete a rule."""
        self._change(_RULE + 1, 0, message)

    def add_route(self, message: bytes) -> None:
        """Add a route, beside one that differs in its gateway only ("ip route prepend")."""
        self._change(_ROUTE, _CREATE, message)

    def delete_route(self, message: bytes) -> None:
        """Delete a route."""
        self._change(_ROUTE + 1, 0, message)

    def _dump(self, kind: int, family: int) -> list[bytes]:
        for _ in range(_TRIES):
            self._send(kind + 2, _REQUEST | _DUMP, struct.pack("=B11x", family))
            whole, found = True, []
            for answer, flags, body in self._answers():
                whole = whole and not flags & _DUMP_INTERRUPTED
                if answer == kind:
                    found.append(body)
            if whole:
                return found
        raise HostError("rules and routes change faster than they can be read")

    def _change(self, kind: int, flags: int, message: bytes) -> None:
        self._send(kind, _REQUEST | _ACK | flags, message)
        for _ in self._answers():
            pass

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0)
        self._socket.send(header + body)

    def _answers(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield the messages of the answer to the latest request, up to its end or acknowledgement."""
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except TimeoutError:
                raise HostError("the kernel does not answer over netlink") from None
            place = 0
            while place + _HEADER.size <= len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, place)
                body = data[place + _HEADER.size : place + length]
                place += (length + 3) & ~3
                if sequence != self._sequence:
                    continue
                if kind == _ERROR:
                    (code,) = struct.unpack_from("=i", body)
                    if code:
                        raise HostError(f"the kernel refused: {os.strerror(-code)}")
                    return
                if kind == _DONE:
                    return
                yield kind, flags, body
