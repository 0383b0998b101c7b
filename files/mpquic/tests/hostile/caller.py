# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that keeps to no rule but those of QUIC: it asks for what it likes and sends what it likes."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

import places
from mpquic.core import messages
from mpquic.core.capsules import CapsuleReader
from mpquic.core.connection import Closed, ControlData, Established
from mpquic.core.messages import Confirm, Hello, Refused, Register, Registered
from mpquic.core.wire import wrap
from mpquic.quic import ClientEndpoint, Trust

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from mpquic.core.types import Network
    from mpquic.quic import Identity

_MTU = 1300


class Caller:
    """One connection over one socket, driven by drive()."""

    def __init__(
        self,
        sock: socket.socket,
        server: tuple[str, int],
        identity: Identity | None,
        server_pin: str,
        prefixes: Sequence[Network],
        *,
        confirms: bool = True,
        says: bytes | None = None,
        pushes: Sequence[bytes] = (),
        endpoint: Callable[[ClientEndpoint], None] = lambda _endpoint: None,
    ) -> None:
        """Begin a handshake.

        ``says`` goes to the control stream instead of a registration of ``prefixes``; ``pushes`` are inner packets that
        leave as soon as the handshake is complete; ``endpoint`` may spoil the endpoint before it is used.
        """
        made = ClientEndpoint(trust=Trust((server_pin,)), identity=identity, tun_mtu=_MTU)
        endpoint(made)
        self.sock = sock
        self.server = server
        self.link = made.connect(server, time.monotonic())
        self.prefixes = tuple(prefixes)
        self.confirms = confirms
        self._id = os.urandom(messages.ID_LENGTH)
        self._says = _opening(self._id, self.prefixes) if says is None else says
        self._pushes = pushes
        self._reader = CapsuleReader()
        self.established = False
        self.registered: Registered | None = None
        self.refused: Refused | None = None
        self.closed: Closed | None = None
        #: Inner packets that arrived.
        self.inner: list[bytes] = []
        self.octets = {"sent": 0, "received": 0}
        self._waiting: list[bytes] = []

    @property
    def over(self) -> bool:
        """Tell whether the server has had enough of it."""
        return self.closed is not None

    def send(self, packets: Sequence[bytes]) -> None:
        """Send inner packets."""
        self.push(wrap(packets))

    def push(self, payloads: Sequence[bytes]) -> None:
        """Send DATAGRAM payloads as they are."""
        self._waiting += payloads
        self.step()

    def confirm(self) -> None:
        """Send CONFIRM."""
        self.link.control(Confirm(self._id).encode())
        self.step()

    def close(self) -> None:
        """Go away politely."""
        self.link.close("test is over")
        self._send(time.monotonic())

    def step(self) -> None:
        """Take what arrived, do what is due, send what there is to say."""
        now = time.monotonic()
        for data, _source in places.received(self.sock):
            self.octets["received"] += len(data)
            self.inner += [payload[1:] for payload in self.link.open([(data, len(data), self.server)], now)]
            self._events()
        if now >= self.link.deadline():
            self.link.fire(now)
            self._events()
        self._send(now)

    def _send(self, now: float) -> None:
        datagrams, taken = self.link.seal(self._waiting, now)
        self._waiting = self._waiting[taken:]
        for data, _to in datagrams:
            self.octets["sent"] += len(data)
            self.sock.send(data)

    def _events(self) -> None:
        for event in self.link.events():
            if isinstance(event, Established):
                self.established = True
                self._waiting += wrap(self._pushes)
                if self._says:
                    self.link.control(self._says)
            elif isinstance(event, ControlData):
                self._hear(event.data)
            elif isinstance(event, Closed):
                self.closed = event

    def _hear(self, data: bytes) -> None:
        for kind, value in self._reader.feed(data):
            message = messages.decode(kind, value)
            if isinstance(message, Registered):
                self.registered = message
                if self.confirms:
                    self.link.control(Confirm(self._id).encode())
            elif isinstance(message, Refused):
                self.refused = message


def _opening(number: bytes, prefixes: Sequence[Network]) -> bytes:
    return Hello(*messages.VERSIONS).encode() + Register(number, 0, tuple(prefixes)).encode()


def drive(
    *callers: Caller, until: Callable[[], bool], seconds: float, what: str = "", also: Callable[[], None] | None = None
) -> float:
    """Let callers live until a condition holds; return how long it took. ``also`` runs every few milliseconds."""
    start = time.monotonic()
    while not until():
        now = time.monotonic()
        assert now - start < seconds, f"not within {seconds} s: {what}"
        live = [caller for caller in callers if not caller.over]
        wait = min([caller.link.deadline() - now for caller in live], default=1.0)
        select.select([caller.sock for caller in live], [], [], max(0.0, min(wait, 0.005)))
        for caller in live:
            caller.step()
        if also is not None:
            also()
    return time.monotonic() - start


def let(*callers: Caller, seconds: float) -> None:
    """Let callers live for a while."""
    end = time.monotonic() + seconds
    drive(*callers, until=lambda: time.monotonic() >= end, seconds=seconds + 5)
