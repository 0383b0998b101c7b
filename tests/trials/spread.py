# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small UDP flows: ``spread.py echo ADDRESS`` answers, ``spread.py send ADDRESS FLOWS PACKETS`` sends.

The sender takes turns between its flows, 2000 packets a second, and prints how many answers came.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time

PORT = 7400
_FIRST = 20000
_RATE = 2000
_SIZE = 400


def echo(address: str) -> None:
    """Answer for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, PORT))
        print("ready", flush=True)
        while True:
            data, source = sock.recvfrom(2048)
            sock.sendto(data, source)


def send(address: str, flows: int, packets: int) -> int:
    """Send, and return how many answers came."""
    sockets = []
    for index in range(flows):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("", _FIRST + index))
        sock.connect((address, PORT))
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        sockets.append(sock)
    begin, count, answers = time.monotonic(), 0, 0
    for _turn in range(packets):
        for sock in sockets:
            time.sleep(max(0.0, begin + count / _RATE - time.monotonic()))
            with contextlib.suppress(OSError):
                sock.send(bytes(_SIZE))
            count += 1
    time.sleep(1.0)
    for sock in sockets:
        with contextlib.suppress(OSError):
            while sock.recv(2048):
                answers += 1
    return answers


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(sys.argv[2])
    else:
        print(send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
