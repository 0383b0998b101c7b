# SPDX-License-Identifier: GPL-3.0-or-later
"""Steady UDP flows, each packet numbered: ``probe.py LOG LOCAL REMOTE RATE PORT...`` until it is ended.

One flow for each port, from LOCAL:PORT to REMOTE:PORT, RATE packets a second. LOG gets a record for each packet that is
sent and for each that arrives; all clocks of a machine are one.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path

#: What is in a packet: number and time of sending. What is in the log: kind, port, number, time of sending, time.
PACKET = struct.Struct("!Id")
RECORD = struct.Struct("!BHIdd")
SENT, ARRIVED = 0, 1
SIZE = 200
#: Seconds after which a packet is not sent any more that should have been: the machine was elsewhere.
_LATE = 0.05


def _socket(local: str, remote: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((local, port))
    sock.connect((remote, port))
    sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return sock


def _take(sock: socket.socket, port: int) -> bytes:
    records = b""
    with contextlib.suppress(OSError):
        while True:
            number, sent = PACKET.unpack_from(sock.recv(2048))
            records += RECORD.pack(ARRIVED, port, number, sent, time.monotonic())
    return records


def main() -> None:
    """Send and receive."""
    log, local, remote, rate = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    sockets = {_socket(local, remote, int(port)): int(port) for port in sys.argv[5:]}
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    number, due, filler = 0, time.monotonic(), bytes(SIZE - PACKET.size)
    with Path(log).open("ab", buffering=0) as out:
        while True:
            now = time.monotonic()
            records = b""
            if now >= due:
                for sock, port in sockets.items():
                    with contextlib.suppress(OSError):
                        sock.send(PACKET.pack(number, now) + filler)
                        records += RECORD.pack(SENT, port, number, now, now)
                number += 1
                due = max(due + 1 / rate, now - _LATE)
            for sock in select.select(list(sockets), [], [], max(0.0, due - time.monotonic()))[0]:
                records += _take(sock, sockets[sock])
            if records:
                out.write(records)


if __name__ == "__main__":
    main()
