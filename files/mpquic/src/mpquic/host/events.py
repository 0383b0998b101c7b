# SPDX-License-Identifier: GPL-3.0-or-later
"""Word from the kernel when something changed that tunnels live on (rtnetlink(7), nfnetlink).

An event does not say what is wrong: who needs to know looks anew. What cannot concern tunnels is left out here, so that
a host with a routing daemon or a firewall that changes all the time does not keep anybody busy.
"""

from __future__ import annotations

import enum
import errno
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Self

from mpquic.host.errors import HostError
from mpquic.host.state import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/netlink.h
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_NETFILTER = 12
_SO_RCVBUFFORCE = 33
_MESSAGE = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
# linux/rtnetlink.h: links, addresses, routes, rules, and per-interface settings such as forwarding, of both families
_ROUTE_GROUPS = (1, 5, 7, 8, 9, 11, 19, 24, 25)
_RTM_ROUTES = frozenset({24, 25})
_RTM_SETTINGS = frozenset({80, 81})
_PROTOCOL_AT = _MESSAGE.size + 5
# linux/netfilter/nfnetlink.h, nf_tables.h: a message of any kind has the table's name as attribute 1, but the one that
# ends a transaction
_TABLES_GROUP = 7
_SUBSYSTEM_TABLES = 10
_NEW_GENERATION = 15
_NAME = 1
_HEAD = _MESSAGE.size + 4

#: Bytes that may wait to be read. The kernel drops what is beyond, and says so.
_BUFFER = 1 << 20
_MOST = 65536


class Subject(enum.Enum):
    """What may have changed, in the order of looking: with the table nothing leaks, whatever else is gone."""

    TABLE = "the nft table"
    ROUTING = "links, addresses, rules and routes"
    SETTINGS = "kernel settings"


EVERYTHING = frozenset(Subject)


class Events:
    """Two subscriptions in the caller's network namespace; use as a context manager.

    Raises:
        HostError: the kernel refuses them.

    """

    def __init__(self, table: str) -> None:
        """Subscribe; of nft tables, to the one of this name."""
        self._table = table.encode() + b"\0"
        self._sockets: list[socket.socket] = []
        self._woken = -1
        try:
            self._route = self._open(socket.NETLINK_ROUTE, _ROUTE_GROUPS)
            self._filter = self._open(_NETLINK_NETFILTER, (_TABLES_GROUP,))
        except OSError as error:
            self.close()
            raise HostError(f"no word from the kernel on changes: {error.strerror}") from error
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        for sock in self._sockets:
            self._poll.register(sock, select.POLLIN)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Unsubscribe."""
        self.close()

    def close(self) -> None:
        """Unsubscribe."""
        for sock in self._sockets:
            sock.close()
        if self._woken >= 0:
            os.close(self._woken)

    def wake(self) -> None:
        """End every `wait` at once, from now on; for a signal handler."""
        os.eventfd_write(self._woken, 1)

    def wait(self, seconds: float) -> frozenset[Subject]:
        """Wait no longer than ``seconds`` for something to have changed, and return what."""
        deadline = time.monotonic() + seconds
        while True:
            remains = deadline - time.monotonic()
            ready = self._poll.poll(max(0.0, remains) * 1000)
            found = self.drain() if ready else frozenset()
            if found or remains <= 0 or any(number == self._woken for number, _events in ready):
                return found

    def drain(self) -> frozenset[Subject]:
        """Return what has changed so far, without waiting."""
        return frozenset(self._drain(self._route, self._of_route) | self._drain(self._filter, self._of_filter))

    def _open(self, protocol: int, groups: tuple[int, ...]) -> socket.socket:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        self._sockets.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.bind((0, 0))
        for group in groups:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        return sock

    def _drain(self, sock: socket.socket, subjects_of: _Reader) -> set[Subject]:
        found: set[Subject] = set()
        while True:
            try:
                data = sock.recv(_MOST)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # There was more than fits, and nobody knows what.
                found |= EVERYTHING
                continue
            for message in _messages(data):
                found |= subjects_of(message)

    def _of_route(self, message: bytes) -> frozenset[Subject]:
        kind = _kind(message)
        if kind in _RTM_ROUTES and not (len(message) > _PROTOCOL_AT and message[_PROTOCOL_AT] == PROTOCOL):
            return frozenset()
        return frozenset({Subject.ROUTING, Subject.SETTINGS} if kind in _RTM_SETTINGS else {Subject.ROUTING})

    def _of_filter(self, message: bytes) -> frozenset[Subject]:
        kind = _kind(message)
        if kind >> 8 != _SUBSYSTEM_TABLES or kind & 0xFF == _NEW_GENERATION:
            return frozenset()
        return frozenset({Subject.TABLE} if _first_name(message) == self._table else ())


if TYPE_CHECKING:
    from collections.abc import Callable

    _Reader = Callable[[bytes], frozenset[Subject]]


def _messages(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + _MESSAGE.size <= len(data):
        length = _MESSAGE.unpack_from(data, at)[0]
        yield data[at : at + length]
        at += max(_MESSAGE.size, length + 3 & ~3)


def _kind(message: bytes) -> int:
    kind: int = _MESSAGE.unpack_from(message)[1]
    return kind


def _first_name(message: bytes) -> bytes:
    """Return the value of the attribute with the table's name, nothing where there is none."""
    at = _HEAD
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if kind == _NAME:
            return message[at + _ATTRIBUTE.size : at + length]
        at += max(_ATTRIBUTE.size, length + 3 & ~3)
    return b""
