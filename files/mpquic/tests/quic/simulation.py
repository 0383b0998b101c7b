# SPDX-License-Identifier: GPL-3.0-or-later
"""Both tunnel ends on a simulated network in virtual time: deterministic for a seed."""

from __future__ import annotations

import functools
import heapq
import math
import random
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mpquic.core.client import ClientTunnel, Settings
from mpquic.core.offload import BareCodec
from mpquic.core.roster import Member, Roster
from mpquic.core.server import ServerTunnel
from mpquic.quic import ClientEndpoint, Identity, ServerEndpoint, Trust, spki_pin
from mpquic.quic.selftest import _self_signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography import x509
    from mpquic.core.types import Address, Arrival, Change, Datagram

SERVER: Address = ("192.0.2.2", 45001)
#: The TUN's addresses and a network behind the client.
CLIENT_TUN, SERVER_TUN = ip_interface("10.200.1.1/30"), ip_interface("10.200.1.2/30")
PREFIXES = (ip_network("10.200.1.1/32"), ip_network("172.16.1.0/30"))


def packet(number: int, size: int = 84, source: str = "10.200.1.1", destination: str = "203.0.113.77") -> bytes:
    """Return an IPv4 packet like no other, from the client into the world."""
    addresses = ip_address(source).packed + ip_address(destination).packed
    return b"\x45\x00" + size.to_bytes(2, "big") + number.to_bytes(8, "big") + addresses + bytes(size - 20)


def turned(data: bytes) -> bytes:
    """Return an IPv4 packet with its addresses exchanged."""
    return data[:12] + data[16:20] + data[12:16] + data[20:] if data[0] >> 4 == 4 else data


@dataclass
class Way:
    """One direction of the wire."""

    delay: float = 0.02
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    mtu: int = 1500
    cut: bool = False
    #: Bits per second of IP packets and the bytes that wait for them; what comes on top is lost.
    rate: float = math.inf
    buffer: int = 100_000
    free_at: float = 0.0

    def queue(self, octets: int, now: float) -> float | None:
        """Return how long a packet waits for the link and takes on it, None when there is no room for it."""
        start = max(self.free_at, now)
        if (start - now) * self.rate / 8 > self.buffer:
            return None
        self.free_at = start + 8 * octets / self.rate
        return self.free_at - now

    def delays(self, octets: int, now: float, chance: random.Random, wire: Counter[str]) -> list[float]:
        """Return when the copies of an IP packet arrive, seconds from now; none when it is lost. ``wire`` counts."""
        wire["datagrams"] += 1
        if self.cut or octets > self.mtu or chance.random() < self.loss:
            wire["lost"] += 1
            return []
        queued = self.queue(octets, now) if self.rate < math.inf else 0.0
        if queued is None:
            wire["full"] += 1
            return []
        copies = 2 if chance.random() < self.duplicate else 1
        return [queued + self.delay + self.jitter * chance.random() for _ in range(copies)]


def identity(folder: Path, name: str = "a") -> tuple[Identity, x509.Certificate]:
    key, certificate = _self_signed()
    cert_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Identity(cert_file, key_file), certificate


def arrivals(source: Address, *datagrams: bytes) -> list[Arrival]:
    """Return datagrams as a socket without receive offload hands them over."""
    return [(data, len(data), source) for data in datagrams]


class Simulation(ABC):
    """Virtual time: what is to happen, and what the tunnels of the simulation have due."""

    def __init__(self, seed: int) -> None:
        self.now = 1000.0
        self.random = random.Random(seed)
        self.wire: Counter[str] = Counter()
        self.history: list[tuple[float, str, str]] = []
        self.told: list[tuple[str, str]] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    @abstractmethod
    def _deadline(self) -> float:
        """Return when a tunnel has something due."""

    @abstractmethod
    def _fire(self) -> None:
        """Let the tunnels do what is due."""

    @abstractmethod
    def _settle(self) -> None:
        """Let the tunnels say what they have to say."""

    def call(self, delay: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (self.now + delay, self._serial, action))

    def every(self, interval: float, action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self.call(interval, again)

        self.call(interval, again)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        stuck = 0
        self._settle()
        while True:
            at = min(self._heap[0][0] if self._heap else math.inf, self._deadline())
            if at > end:
                break
            stuck = stuck + 1 if at <= self.now else 0
            assert stuck < 1000, "timers loop at one instant"
            self.now = max(self.now, at)
            while self._heap and self._heap[0][0] <= self.now:
                heapq.heappop(self._heap)[2]()
            self._fire()
            self._settle()
        self.now = end

    def run_until(self, condition: Callable[[], bool], seconds: float) -> float:
        """Run until ``condition`` holds; return how long that took."""
        start = self.now
        while not condition():
            assert self.now - start < seconds, f"not within {seconds} s: {self.history[-3:]}"
            self.run(0.005)
        return self.now - start

    def _note(self, who: str, changes: list[Change]) -> None:
        self.history += [(self.now, who, f"{item.state}: {item.reason}") for item in changes]
        self.told += [(who, item.detail) for item in changes]

    def states(self, who: str) -> list[str]:
        return [text for _, name, text in self.history if name == who]

    def details(self, who: str) -> str:
        return " ".join(detail for name, detail in self.told if name == who)


class World(Simulation):
    """A client, a server, the wire between them, and what each end delivered to its TUN."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        trust: Trust | None = None,
        mtu: int = 1300,
        algorithm: str = "tunnel",
        rate: int | None = None,
    ) -> None:
        super().__init__(seed)
        self.up, self.down = Way(), Way()
        self.identity, certificate = identity(folder)
        self.client_identity, client_certificate = identity(folder, "client")
        self.members = [Member("client1", PREFIXES, frozenset({spki_pin(client_certificate)}))]
        self.mtu, self.algorithm, self.rate = mtu, algorithm, rate
        trust = trust or Trust(pins=(spki_pin(certificate),))
        self.client_endpoint = ClientEndpoint(
            trust=trust, identity=self.client_identity, tun_mtu=mtu, algorithm=algorithm
        )
        self._ports = 50000
        self.at_client: list[tuple[float, bytes]] = []
        self.at_server: list[tuple[float, bytes]] = []
        self.no_socket: str | None = None
        #: What else arrives before a datagram: a forgery made of it.
        self.forge: Callable[[bytes], bytes] | None = None
        #: Datagrams to an address that the present client does not have.
        self.on_stray: Callable[[bytes, Address], None] = lambda _data, _to: None
        self.server: ServerTunnel | None = None
        self.start_server()
        self.start_client()

    # --- what a test does -------------------------------------------------------------------------------------------

    def start_server(self) -> None:
        endpoint = ServerEndpoint(identity=self.identity, tun_mtu=self.mtu, algorithm=self.algorithm)
        self.server = ServerTunnel(endpoint, Roster(self.members), self.now, rate=self.rate, own=(SERVER_TUN,))
        self.server.attach(BareCodec())

    def start_client(self) -> None:
        settings = Settings(CLIENT_TUN, PREFIXES, rate=self.rate)
        self.client = ClientTunnel(self.client_endpoint.connect, self.random.randbytes, self.now, settings)
        self.address: Address = ("198.51.100.1", 0)

    def from_client(self, *packets: bytes) -> None:
        self.client.send(packets, self.now)

    def from_server(self, *packets: bytes) -> None:
        """Send the answers to these packets; ``at_client`` has them as they are here."""
        if self.server is not None:
            self.server.send([turned(data) for data in packets], self.now)

    # --- machinery --------------------------------------------------------------------------------------------------

    def _deadline(self) -> float:
        return min(self.client.deadline(), self.server.deadline() if self.server is not None else math.inf)

    def _fire(self) -> None:
        self.client.fire(self.now)
        if self.server is not None:
            self.server.fire(self.now)

    def _settle(self) -> None:
        datagrams = self.client.flush(self.now)
        if self.no_socket is None:
            self._carry(datagrams, self.up, self._to_server)
        if self.server is not None:
            self._carry(self.server.flush(self.now), self.down, self._to_client)
        for connection in (self.client.connection, self.server.connection if self.server else None):
            if connection is not None:
                # The library's endless queue is never used: what could not leave at once is back in ours.
                assert not connection._connection._datagrams_pending  # type: ignore[attr-defined]
        for name, tunnel in (("client", self.client), ("server", self.server)):
            if tunnel is not None:
                self._note(name, tunnel.changes())
        if self.client.needs_socket:
            if self.no_socket is not None:
                self.client.socket_failed(self.no_socket, self.now)
            else:
                self._ports += 1
                self.address = ("198.51.100.1", self._ports)
                self.client.socket_ready(SERVER, self.now)
            self._settle()

    def _carry(self, datagrams: list[Datagram], way: Way, arrive: Callable[[bytes, Address], None]) -> None:
        source = self.address
        for data, to in datagrams:
            for delay in way.delays(len(data) + 28, self.now, self.random, self.wire):
                self.call(delay, functools.partial(arrive, data, source if way is self.up else to))

    def _to_server(self, data: bytes, source: Address) -> None:
        if self.server is None:
            if self.address == source:
                self.call(self.down.delay, functools.partial(self._refuse, source))
            return
        batch = arrivals(source, data) if self.forge is None else arrivals(source, self.forge(data), data)
        self.at_server += [(self.now, b"".join(frame)) for frame in self.server.receive(batch, self.now)]

    def _refuse(self, address: Address) -> None:
        if address == self.address and not self.down.cut:
            self.client.refused(self.now)

    def _to_client(self, data: bytes, to: Address) -> None:
        if self.no_socket is not None:
            return
        if to != self.address:
            self.on_stray(data, to)
            return
        batch = arrivals(SERVER, data) if self.forge is None else arrivals(SERVER, self.forge(data), data)
        self.at_client += [(self.now, turned(b"".join(frame))) for frame in self.client.receive(batch, self.now)]

    def drops(self) -> dict[str, Any]:
        return dict(self.client.counters.drops)
