# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP connections that talk all the time: ``talk.py serve ADDRESS`` echoes, ``talk.py call ADDRESS COUNT`` talks.

The caller sends a numbered message on each connection twenty times a second until it gets SIGTERM, waits for the last
echoes, and prints one JSON object: how many connections lived to the end with every byte in its place, and the longest
time (s) that any of them waited for an echo.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import sys
import threading
import time

PORT = 7100
_EVERY = 0.05
_SIZE = 100
#: Seconds without an echo, or for the last of them, after which a connection is dead.
_PATIENCE = 15.0


def serve(address: str) -> None:
    """Echo for ever."""
    with socket.create_server((address, PORT)) as listener:
        print("ready", flush=True)
        while True:
            threading.Thread(target=_echo, args=(listener.accept()[0],), daemon=True).start()


def _echo(sock: socket.socket) -> None:
    try:
        while data := sock.recv(65536):
            sock.sendall(data)
    except OSError:
        pass  # the caller tells


class Call:
    """One connection."""

    def __init__(self, address: str) -> None:
        """Connect."""
        self.sock = socket.create_connection((address, PORT), _PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fault = ""
        self.stall = 0.0
        self._sent = self._heard = 0
        self._last = time.monotonic()

    @property
    def done(self) -> bool:
        """Whether nothing more is to be heard."""
        return bool(self.fault) or self._heard == self._sent * _SIZE

    def say(self) -> None:
        """Send the next message."""
        try:
            self.sock.sendall(self._sent.to_bytes(4, "big") * (_SIZE // 4))
            self._sent += 1
        except OSError as error:
            self.fault = self.fault or str(error)

    def hear(self) -> None:
        """Check what came back."""
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            self.fault = self.fault or str(error)
            return
        for index, byte in enumerate(data, self._heard):
            if byte != (index // _SIZE).to_bytes(4, "big")[index % 4]:
                self.fault = self.fault or f"byte {index} is wrong"
        if not data:
            self.fault = self.fault or "closed"
        now = time.monotonic()
        self.stall = max(self.stall, now - self._last)
        self._heard += len(data)
        self._last = now


def call(address: str, count: int) -> None:
    """Talk until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    calls = [Call(address) for _index in range(count)]
    print("ready", flush=True)
    due, deadline = time.monotonic(), None
    while True:
        now = time.monotonic()
        if ended.is_set() and deadline is None:
            deadline = now + _PATIENCE
        if deadline is not None and (now > deadline or all(one.done for one in calls)):
            break
        if deadline is None and now >= due:
            due = now + _EVERY
            for one in calls:
                if not one.fault:
                    one.say()
        living = {one.sock: one for one in calls if not one.fault}
        for sock in select.select(list(living), [], [], max(0.0, min(due - now, _EVERY)))[0]:
            living[sock].hear()
    faults = [one.fault or "silent" for one in calls if one.fault or not one.done]
    print(json.dumps({"alive": count - len(faults), "stall": max(one.stall for one in calls), "faults": faults}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        call(sys.argv[2], int(sys.argv[3]))
