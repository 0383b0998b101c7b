# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of datagrams by the native library: the twin of mpquic.io.udp.UdpSocket."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from mpquic.core.types import Marked
from mpquic.io.udp import BATCH, UdpSocket
from mpquic.native import library as native
from mpquic.native.buffers import Room
from mpquic.native.buffers import batch as batch_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.types import Address, Arrival, Datagram
    from mpquic.native import Library

#: Messages of one receive(), and their bytes: one more batch of recvmmsg(2) than BATCH datagrams need.
_MESSAGES = BATCH + 8
_OCTETS = 24 * native.MESSAGE
_TO = itemgetter(1)
#: struct sockaddr_in and sockaddr_in6, whose family is in the host's byte order.
_FAMILY = struct.Struct("=H")
_V4 = struct.Struct("!H4s8x")
_V6 = struct.Struct("!HI16s")
_SCOPE = struct.Struct("=I")


class NativeUdpSocket(UdpSocket):
    """See UdpSocket."""

    def __init__(self, library: Library, sock: socket.socket, drops: Counter[str], *, connected: bool) -> None:
        """Take over ``sock``. Datagrams that the kernel refuses count in ``drops``."""
        super().__init__(sock, drops, connected=connected)
        self._library = library
        self._room = _room()
        self._segments = (ctypes.c_uint32 * _MESSAGES)()
        self._sources = ctypes.create_string_buffer(_MESSAGES * native.ADDRESS)
        self._error = ctypes.c_int()
        self._run = ctypes.c_uint32()

    def receive(self) -> list[Arrival]:
        """Return what has arrived, up to about BATCH datagrams; nothing when nothing has."""
        room = self._room
        count = self._library.receive(
            self._sock.fileno(),
            BATCH,
            room.data,
            room.size,
            room.at,
            self._segments,
            self._sources,
            _MESSAGES,
            self._error,
        )
        code = self._error.value
        if code and code != errno.EAGAIN:
            self._note(OSError(code, os.strerror(code)))
        if not count:
            return []
        sources = ctypes.string_at(self._sources, count * native.ADDRESS)
        own, length = self._own, native.ADDRESS
        addresses = [_address(sources[at : at + length], own) for at in range(0, len(sources), length)]
        received = list(zip(room.items(count), self._segments[:count], addresses, strict=True))
        if all(map(itemgetter(0), received)):
            return received
        self._drops["udp_empty"] += sum(not data for data, _size, _source in received)
        return [arrival for arrival in received if arrival[0]]

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Send datagrams in order; see UdpSocket."""
        if len(datagrams) == 1:
            super().send(datagrams)
            return
        for address, group in groupby(datagrams, _TO):
            self._send_to(address, list(group))

    def _send_to(self, address: Address, datagrams: list[Datagram]) -> None:
        """Send datagrams to one address."""
        level = kind = tos = 0
        to = address
        if isinstance(address, Marked):
            (level, kind), tos, to = self._tos, address.tos, address.address
        raw = b"" if self._connected else _raw(to)
        if raw is None:
            super().send(datagrams)
            return
        while datagrams:
            batch = batch_of([data for data, _to in datagrams])
            done = self._library.send(
                *(self._sock.fileno(), raw, len(raw), level, kind, tos, self.gso, *batch.arguments),
                *(self._run, self._error),
            )
            code, end = self._error.value, done + self._run.value
            if not code:
                return
            error = OSError(code, os.strerror(code))
            if end - done == 1:
                data, _to = datagrams[done]
                self._send_one(data, address, error)
            elif not self._run_failed(error, datagrams, done, end):
                for data, _to in datagrams[done:end]:
                    self._send_one(data, address)
            datagrams = datagrams[end:]


@lru_cache(maxsize=1)
def _room() -> Room:
    """Return the room that all sockets share: what arrives is copied at once."""
    return Room(_MESSAGES, _OCTETS)


@lru_cache(maxsize=1024)
def _address(raw: bytes, own: tuple[int, ...]) -> Address:
    """Return a socket address as the socket module gives it, with the ``own`` port of a server at its end."""
    family = _FAMILY.unpack_from(raw)[0]
    if family == socket.AF_INET:
        port, host = _V4.unpack_from(raw, 2)
        return socket.inet_ntoa(host), port, *own
    port, flow, host = _V6.unpack_from(raw, 2)
    return socket.inet_ntop(socket.AF_INET6, host), port, flow, _SCOPE.unpack_from(raw, 24)[0], *own


@lru_cache(maxsize=1024)
def _raw(address: Address) -> bytes | None:
    """Return the address of a server's peer as the kernel takes it, None when it is not written in numbers."""
    host, port, *more = address[:-1]
    try:
        if not more:
            return _FAMILY.pack(socket.AF_INET) + _V4.pack(port, socket.inet_aton(host))
        flow, scope = more
        head = _FAMILY.pack(socket.AF_INET6) + _V6.pack(port, flow, socket.inet_pton(socket.AF_INET6, host))
        return head + _SCOPE.pack(scope)
    except OSError:
        return None
