# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends what a victim has sent once more, at once and again later, from elsewhere."""

from __future__ import annotations

import random
import time
from collections import deque
from typing import TYPE_CHECKING

import places

if TYPE_CHECKING:
    import socket

_UDP = 17
#: Datagrams of a victim's start that are repeated all the time: its handshake and registration.
_FIRST = 16
#: Seconds between repetitions of those.
_AGAIN = 0.1


class Replayer:
    """Listens to a victim's device, and has sockets of strangers."""

    def __init__(self, tap: socket.socket, port: int, strangers: list[socket.socket]) -> None:
        self._tap = tap
        self._port = port
        self._strangers = strangers
        self._random = random.Random(1)
        self.first: list[bytes] = []
        self._lately: deque[bytes] = deque(maxlen=500)
        self._again_at = 0.0
        self.sent = 0
        self.answers = 0

    def listen(self) -> None:
        """Remember what passed."""
        for datagram in self._heard():
            if len(self.first) < _FIRST:
                self.first.append(datagram)
            self._lately.append(datagram)

    def step(self) -> None:
        """Repeat what passed since the last call, and now and then what passed before."""
        for datagram in self._heard():
            self._lately.append(datagram)
            self._send(datagram)
        now = time.monotonic()
        if now >= self._again_at:
            self._again_at = now + _AGAIN
            for datagram in (*self.first, *self._random.sample(self._lately, min(16, len(self._lately)))):
                self._send(datagram)
        self.answers += sum(len(places.received(sock)) for sock in self._strangers)

    def _send(self, datagram: bytes) -> None:
        self._random.choice(self._strangers).send(datagram)
        self.sent += 1

    def _heard(self) -> list[bytes]:
        found = []
        for packet in places.tapped(self._tap, outgoing=True):
            header = 4 * (packet[0] & 15)
            if (
                packet[0] >> 4 == 4
                and packet[9] == _UDP
                and packet[header + 2 : header + 4] == self._port.to_bytes(2, "big")
            ):
                found.append(packet[header + 8 :])
        return found
