# SPDX-License-Identifier: GPL-3.0-or-later
"""Our end of a connection with a foreign peer: mpquic.quic over the daemon's UDP socket, in a loop that only waits."""

from __future__ import annotations

import contextlib
import math
import select
import time
from collections import Counter
from typing import TYPE_CHECKING

from mpquic.core.connection import Closed, Established
from mpquic.io.udp import open_udp

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from mpquic.core.connection import Identity
    from mpquic.core.types import Address, Arrival
    from mpquic.io.udp import UdpSocket
    from mpquic.quic import ClientEndpoint, ServerEndpoint
    from mpquic.quic.link import Link
    from relay import Relay
    from traffic import Traffic

HOST = "127.0.0.1"
#: Seconds that one exchange and its handshake may take, several times what they do on a busy machine.
LIMIT = 30.0
HANDSHAKE_LIMIT = 10.0
GOODBYE = "that was all"


class OurEnd:
    """A client once it is given a server, a server once a client has come."""

    def __init__(self, endpoint: ClientEndpoint | ServerEndpoint, remote: Address | None = None) -> None:
        """With ``remote``, ``endpoint`` is a client's and calls there."""
        self._drops: Counter[str] = Counter()
        self._socket = open_udp(HOST, 0, device=None, remote=remote, drops=self._drops)
        self._endpoint = endpoint
        self._link: Link | None = None
        if remote is not None:
            self._link = endpoint.connect(remote, time.monotonic())  # type: ignore[union-attr]
        self._established = False
        #: Who the peer proved to be, None until then.
        self.peer: Identity | None = None
        #: Why the connection is over, None while it is not.
        self.closed: str | None = None

    @property
    def address(self) -> Address:
        """Where a client finds us."""
        return self._socket.local

    @property
    def max_payload(self) -> int:
        """Largest datagram of this connection (bytes)."""
        assert self._link is not None
        return self._link.max_payload

    @property
    def key_updates(self) -> int:
        """Number of key updates, whoever began them."""
        assert self._link is not None
        return self._link.key_updates

    def exchange(self, traffic: Traffic, *, updates: int, relay: Relay | None = None) -> None:
        """Send everything and take it back, and more until there were so many key updates; then say goodbye."""
        begin = time.monotonic()
        while True:
            now = time.monotonic()
            end = begin + (LIMIT if self._established else HANDSHAKE_LIMIT)
            assert now < end, f"not done in time: {traffic.sent} sent, {traffic.missing} missing"
            for echo in self._receive(relay, now):
                traffic.came_back(echo)
            if self._established and self.key_updates < updates:
                traffic.count = max(traffic.count, traffic.sent + traffic.window)
            if traffic.finished(now) or self.closed is not None:
                break
            if not self._established:
                self._send([], now)
            else:
                if relay is not None:
                    relay.impaired = True
                batch = traffic.batch()
                traffic.left(batch[: self._send(batch, now)], now)
            self._wait(relay, min(end, traffic.deadline()))
        if self._link is not None and self.closed is None:
            self._link.close(GOODBYE)
            self._send([], time.monotonic())
            if relay is not None:
                relay.finish()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _wait(self, relay: Relay | None, until: float) -> None:
        sockets: list[UdpSocket | socket.socket] = [self._socket]
        if relay is not None:
            sockets += relay.sockets
        until = min(
            until,
            self._link.deadline() if self._link is not None else math.inf,
            relay.deadline() if relay is not None else math.inf,
        )
        select.select(sockets, [], [], max(0.0, until - time.monotonic()))

    def _receive(self, relay: Relay | None, now: float) -> list[bytes]:
        if relay is not None:
            relay.step(now)
        arrivals = self._socket.receive()
        if self._link is None:
            if not arrivals:
                return []
            self._link = self._endpoint.accept(destination_cid(arrivals[0]), now)  # type: ignore[union-attr]
        self._link.fire(now)
        payloads = self._link.open(arrivals, now)
        for event in self._link.events():
            if isinstance(event, Established):
                self._established = True
                self.peer = event.identity
            elif isinstance(event, Closed):
                self.closed = event.reason
        return payloads

    def _send(self, payloads: list[bytes], now: float) -> int:
        if self._link is None:
            return 0
        datagrams, taken = self._link.seal(payloads, now)
        self._socket.send(datagrams)
        assert not self._drops, f"the kernel refused datagrams: {dict(self._drops)}"
        return taken


def destination_cid(arrival: Arrival) -> bytes:
    """Return the destination connection id of a long header (RFC 8999 section 5.1)."""
    data = arrival[0]
    return data[6 : 6 + data[5]]


@contextlib.contextmanager
def our_end(endpoint: ClientEndpoint | ServerEndpoint, remote: Address | None = None) -> Iterator[OurEnd]:
    """Close it in all cases."""
    end = OurEnd(endpoint, remote)
    try:
        yield end
    finally:
        end.close()
