# SPDX-License-Identifier: GPL-3.0-or-later
"""Parallel TCP flows in both directions whose every byte is checked: ``flows.py serve|connect ADDRESS FLOWS BYTES``.

Both ends send and receive on each flow at the same time, then print one JSON object: for each flow the SHA-256 of what
they sent and of what they received.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import sys
import threading

PORT = 5300
#: Seconds without a byte after which a flow has failed.
_STALL = 15.0


def exchange(sock: socket.socket, number: int, side: str, size: int, digests: dict[str, dict[str, str]]) -> None:
    """Send ``size`` random bytes, receive until the other end has finished, and note both digests."""
    data = random.Random(f"{side}{number}").randbytes(size)
    sock.settimeout(_STALL)
    received = hashlib.sha256()
    sender = threading.Thread(target=_send, args=(sock, data), daemon=True)
    sender.start()
    try:
        while part := sock.recv(262144):
            received.update(part)
    except OSError as error:
        digests[str(number)] = {"sent": hashlib.sha256(data).hexdigest(), "received": f"failed: {error}"}
        return
    sender.join(_STALL)
    digests[str(number)] = {"sent": hashlib.sha256(data).hexdigest(), "received": received.hexdigest()}


def _send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other end's digest will tell


def _connections(side: str, address: str, count: int) -> list[tuple[int, socket.socket]]:
    """Return the flows with their numbers; the first byte of each is its number."""
    if side == "connect":
        flows = []
        for number in range(count):
            sock = socket.create_connection((address, PORT), timeout=_STALL)
            sock.sendall(bytes([number]))
            flows.append((number, sock))
        return flows
    with socket.create_server((address, PORT)) as listener:
        listener.settimeout(_STALL)
        accepted = [listener.accept()[0] for _count in range(count)]
    return [(sock.recv(1)[0], sock) for sock in accepted]


def main() -> None:
    """Run one end."""
    side, address, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    digests: dict[str, dict[str, str]] = {}
    workers = [
        threading.Thread(target=exchange, args=(sock, number, side, size, digests), daemon=True)
        for number, sock in _connections(side, address, count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(json.dumps(digests))


if __name__ == "__main__":
    main()
