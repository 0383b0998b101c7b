# SPDX-License-Identifier: GPL-3.0-or-later
"""A delay line for UDP: ``relay.py NEAR FAR PORT SECONDS`` takes datagrams at NEAR:PORT and hands them to FAR:PORT.

Answers go back to whoever sent last. Each datagram leaves SECONDS after it came, in order. This stands in for netem,
which not every kernel has.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from collections import deque

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
#: Bytes: more than the slow link's own buffer, so that the link decides what is dropped.
_BUFFER = 16_000_000
_BATCH = 64


class Side:
    """One socket, and the datagrams on their way out of it."""

    def __init__(self, sock: socket.socket) -> None:
        """Use this socket."""
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        self.sock = sock
        self.peer: tuple[str, int] | None = None
        self._line: deque[tuple[float, bytes]] = deque()

    def due(self) -> float | None:
        """Return when the next datagram leaves."""
        return self._line[0][0] if self._line else None

    def take(self, other: Side, delay: float) -> None:
        """Receive what is there, and put it on the line of the other side."""
        with contextlib.suppress(OSError):
            for _count in range(_BATCH):
                data, self.peer = self.sock.recvfrom(65535)
                other._line.append((time.monotonic() + delay, data))

    def send(self, now: float) -> None:
        """Let go what is due."""
        while self._line and self._line[0][0] <= now:
            data = self._line.popleft()[1]
            # Lost, as on any link: nobody listens there yet, or the datagram is too long.
            with contextlib.suppress(OSError):
                if self.peer is not None:
                    self.sock.sendto(data, self.peer)


def relay(near: Side, far: Side, delay: float) -> None:
    """Carry datagrams both ways for ever."""
    others = {near.sock: (near, far), far.sock: (far, near)}
    while True:
        for side in (near, far):
            side.send(time.monotonic())
        due = [moment for moment in (near.due(), far.due()) if moment is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        for sock in select.select(list(others), [], [], timeout)[0]:
            source, target = others[sock]
            source.take(target, delay)


def main() -> None:
    """Open the sockets and say ``ready``."""
    near_address, far_address, port, delay = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        near, far = Side(one), Side(two)
        one.bind((near_address, port))
        far.peer = (far_address, port)
        # A link does not wait for a CPU.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        print("ready", flush=True)
        relay(near, far, delay)


if __name__ == "__main__":
    main()
