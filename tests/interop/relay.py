# SPDX-License-Identifier: GPL-3.0-or-later
"""A UDP relay that loses, doubles and reorders, for one client; driven by the loop of whoever made it."""

from __future__ import annotations

import random
import select
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.types import Address

#: How many others overtake a datagram at most, and how long it waits for those (seconds).
OVERTAKERS = 50
HOLD = 0.02
_BUFFER = 1 << 20


@dataclass(frozen=True)
class Wire:
    """Shares of the datagrams that get lost, come twice, and are overtaken by others."""

    loss: float
    doubled: float
    overtaken: float


@dataclass
class Way:
    """One direction, and what became of the datagrams that went it."""

    source: socket.socket = field(repr=False)
    sink: socket.socket = field(repr=False)
    lost: int = 0
    doubled: int = 0
    overtaken: int = 0
    passed: int = 0
    #: Datagrams waiting, each for a number of ``passed`` or a time.
    held: list[tuple[int, float, bytes]] = field(default_factory=list, repr=False)


class Relay:
    """Forwards between a client and a server; harmless until ``impaired`` is set."""

    def __init__(self, wire: Wire, seed: int = 1) -> None:
        """Open the sockets; ``wire`` is what it is like once ``impaired``, in both directions."""
        self._wire = wire
        self._random = random.Random(seed)
        self._front, self._back = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _side in range(2))
        for sock in (self._front, self._back):
            sock.settimeout(0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            sock.bind(("127.0.0.1", 0))
        self._server: Address | None = None
        self._client: Address | None = None
        self.impaired = False
        self.up, self.down = Way(self._front, self._back), Way(self._back, self._front)

    def between(self, server: Address) -> Address:
        """Forward to ``server`` and return where its client must call."""
        self._server = server
        address: Address = self._front.getsockname()
        return address

    @property
    def sockets(self) -> list[socket.socket]:
        """What to wait for, besides ``deadline``."""
        return [self._front, self._back]

    def deadline(self) -> float:
        """Return when ``step`` must be called, infinity for never."""
        return min([at for way in (self.up, self.down) for _count, at, _data in way.held], default=float("inf"))

    def step(self, now: float) -> None:
        """Forward what has come and what has waited long enough."""
        for way in (self.up, self.down):
            while True:
                try:
                    data, source = way.source.recvfrom(65535)
                except BlockingIOError:
                    break
                if way is self.up:
                    self._client = source
                self._carry(way, data, now)
            self._release(way, now)

    def finish(self) -> None:
        """Forward what is on its way, and lose nothing any more."""
        self.impaired = False
        end = time.monotonic() + 2 * HOLD
        while (now := time.monotonic()) < end:
            self.step(now)
            select.select(self.sockets, [], [], end - now)

    def close(self) -> None:
        """Close the sockets."""
        self._front.close()
        self._back.close()

    def _carry(self, way: Way, data: bytes, now: float) -> None:
        if not self.impaired:
            self._pass(way, data)
            return
        if self._random.random() < self._wire.loss:
            way.lost += 1
            return
        copies = 1
        if self._random.random() < self._wire.doubled:
            copies = 2
            way.doubled += 1
        for _copy in range(copies):
            if self._random.random() < self._wire.overtaken:
                way.overtaken += 1
                way.held.append((way.passed + self._random.randint(1, OVERTAKERS), now + HOLD, data))
            else:
                self._pass(way, data)
        self._release(way, now)

    def _release(self, way: Way, now: float) -> None:
        due = [entry for entry in way.held if entry[0] <= way.passed or entry[1] <= now]
        for entry in due:
            way.held.remove(entry)
            self._pass(way, entry[2])

    def _pass(self, way: Way, data: bytes) -> None:
        to = self._server if way is self.up else self._client
        if to is not None:
            way.passed += 1
            way.sink.sendto(data, to)
