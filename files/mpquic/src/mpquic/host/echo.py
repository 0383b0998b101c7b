# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP echo through TUN devices, all at once: the proof that packets cross a tunnel and come back (RFC 792)."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNT = 3
"""Echo requests per tunnel."""

INTERVAL = 0.1
"""Seconds between the requests of one tunnel."""

_REQUEST = 8
_REPLY = 0
_HEADER = struct.Struct("!BBHHH")
_TOKEN = 8
#: DSCP EF (RFC 3246) in the byte that IP_TOS sets.
_EXPEDITED = 46 << 2


@dataclass(frozen=True, slots=True)
class Probe:
    """Where to send echo requests: out of `device`, from `source`, to `destination` (IPv4 addresses)."""

    device: str
    source: str
    destination: str


@dataclass(slots=True)
class Echo:
    """What came back; `rtt_ms` holds milliseconds, one for each reply, `error` why nothing could be sent."""

    sent: int = 0
    rtt_ms: list[float] = field(default_factory=list)
    error: str | None = None

    @property
    def crossed(self) -> bool:
        """Whether at least one packet went there and back."""
        return bool(self.rtt_ms)

    @property
    def best_ms(self) -> float | None:
        """Return the shortest round trip in milliseconds."""
        return round(min(self.rtt_ms), 3) if self.rtt_ms else None

    @property
    def loss(self) -> float:
        """Return the share of requests without a reply, 0 to 1."""
        return round(1 - len(self.rtt_ms) / self.sent, 3) if self.sent else 1.0


class _Flight:
    """The requests of one probe."""

    def __init__(self, probe: Probe, count: int) -> None:
        self.echo = Echo()
        self._count = count
        self.identifier = int.from_bytes(os.urandom(2), "big")
        self.token = os.urandom(_TOKEN)
        self.departed: dict[int, float] = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, probe.device.encode())
            # A tunnel full of downloads is healthy: the echo is critical and does not wait behind them.
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED)
            self.socket.bind((probe.source, 0))
            self.socket.connect((probe.destination, 0))
        except OSError as error:
            self.echo.error = f"{probe.device}: {error.strerror}"

    def send(self, now: float) -> None:
        sequence = self.echo.sent
        self.echo.sent += 1
        self.departed[sequence] = now
        try:
            self.socket.send(request(self.identifier, sequence, self.token))
        except OSError as error:
            # A full or dead queue is a lost packet; the text helps when nothing at all comes back.
            self.echo.error = str(error.strerror)

    def receive(self, now: float) -> None:
        while True:
            try:
                packet = self.socket.recv(2048)
            except OSError:
                return
            icmp = packet[(packet[0] & 0x0F) * 4 :]
            if len(icmp) < _HEADER.size + _TOKEN:
                continue
            kind, _code, _sum, identifier, sequence = _HEADER.unpack_from(icmp)
            if kind != _REPLY or identifier != self.identifier or icmp[_HEADER.size :] != self.token:
                continue
            departed = self.departed.pop(sequence, None)
            if departed is not None:
                self.echo.rtt_ms.append((now - departed) * 1000)

    @property
    def done(self) -> bool:
        return self.echo.sent >= self._count and not self.departed


def echo(
    probes: Mapping[str, Probe], timeout: float, *, count: int = COUNT, interval: float = INTERVAL
) -> dict[str, Echo]:
    """Probe all tunnels at the same time.

    Args:
        probes: What to probe, by any name.
        timeout: Seconds to wait for the last reply; dead tunnels cost this once, not once each.
        count: Requests per tunnel.
        interval: Seconds between the requests of one tunnel.

    Raises:
        PermissionError: raw sockets need CAP_NET_RAW.

    """
    flights = {name: _Flight(probe, count) for name, probe in probes.items()}
    usable = [flight for flight in flights.values() if flight.echo.error is None]
    try:
        with selectors.DefaultSelector() as selector:
            for flight in usable:
                selector.register(flight.socket, selectors.EVENT_READ, flight)
            _fly(selector, usable, timeout, count, interval)
    finally:
        for flight in flights.values():
            flight.socket.close()
    return {name: flight.echo for name, flight in flights.items()}


def _fly(selector: selectors.BaseSelector, flights: list[_Flight], timeout: float, count: int, interval: float) -> None:
    start = time.monotonic()
    rounds = 0
    while not all(flight.done for flight in flights):
        now = time.monotonic()
        if rounds < count and now >= start + rounds * interval:
            rounds += 1
            for flight in flights:
                flight.send(now)
        end = start + (rounds * interval if rounds < count else (count - 1) * interval + timeout)
        if rounds >= count and now >= end:
            return
        for key, _events in selector.select(max(0.0, end - now)):
            key.data.receive(time.monotonic())


def request(identifier: int, sequence: int, payload: bytes) -> bytes:
    """Return an ICMP echo request with its checksum."""
    bare = _HEADER.pack(_REQUEST, 0, 0, identifier, sequence) + payload
    return _HEADER.pack(_REQUEST, 0, checksum(bare), identifier, sequence) + payload


def checksum(data: bytes) -> int:
    """Return the internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
