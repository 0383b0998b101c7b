# SPDX-License-Identifier: GPL-3.0-or-later
"""A UDP relay that sends some datagrams twice and some late, both ways; a thread of its own."""

from __future__ import annotations

import contextlib
import random
import select
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import places

if TYPE_CHECKING:
    import socket
    from typing import Self

#: How many others overtake a late datagram at most, and how long it waits for them (seconds).
_OVERTAKERS = 50
_PATIENCE = 0.03
_SECOND_COPY = 20


class Rough:
    """Between a client, who talks to ``near``, and the server that ``far`` is connected to."""

    def __init__(self, near: socket.socket, far: socket.socket, *, doubled: float, late: float) -> None:
        self._near, self._far = near, far
        self._client: tuple[str, int] | None = None
        self._shares = doubled, late
        self._random = random.Random(1)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        #: Datagrams that wait: for so many others, or for a time.
        self._held: dict[socket.socket, list[tuple[int, float, bytes]]] = {near: [], far: []}
        self._passed = Counter[int]()
        self.count: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._end.is_set():
            select.select([self._near, self._far], [], [], 0.005)
            for data, source in places.received(self._near):
                self._client = source
                self._carry(self._far, data)
            for data, _source in places.received(self._far):
                self._carry(self._near, data)
            for sock in self._held:
                self._release(sock)

    def _carry(self, sock: socket.socket, data: bytes) -> None:
        doubled, late = self._shares
        self.count["datagrams"] += 1
        copies = [0]
        if self._random.random() < doubled:
            self.count["doubled"] += 1
            # At once, or some packets later.
            copies.append(self._random.randrange(_SECOND_COPY))
        if self._random.random() < late:
            self.count["late"] += 1
            copies[0] = self._random.randint(1, _OVERTAKERS)
        for wait in copies:
            if wait:
                self._held[sock].append((self._passed[sock.fileno()] + wait, time.monotonic() + _PATIENCE, data))
            else:
                self._pass(sock, data)

    def _release(self, sock: socket.socket) -> None:
        now = time.monotonic()
        for entry in list(self._held[sock]):
            if entry[0] <= self._passed[sock.fileno()] or entry[1] <= now:
                self._held[sock].remove(entry)
                self._pass(sock, entry[2])

    def _pass(self, sock: socket.socket, data: bytes) -> None:
        self._passed[sock.fileno()] += 1
        with contextlib.suppress(ConnectionRefusedError):
            if sock is self._far:
                sock.send(data)
            elif self._client is not None:
                sock.sendto(data, self._client)
