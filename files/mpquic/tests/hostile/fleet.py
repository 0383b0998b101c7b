# SPDX-License-Identifier: GPL-3.0-or-later
"""Many clients in one process: the program's own tunnels over real sockets, each from an address of its own."""

from __future__ import annotations

import os
import select
import sys
import time
from collections import Counter
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import places
from hosts import CROWD, SERVER
from mpquic.core.client import ClientTunnel, Settings
from mpquic.core.schedule import Schedule
from mpquic.io.udp import open_udp
from mpquic.quic import ClientEndpoint, Trust
from wan import ADDRESS, TUN

sys.path.append(str(Path(__file__).parents[1] / "core"))

from packets import UDP, Packet

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from hosts import Hosts
    from mpquic.quic import Identity

#: Handshakes under way at a time: as many as a server takes without a Retry.
_AT_ONCE = 15
#: Probes on their way at a time: the queue of a TUN device has room for more.
_WINDOW = 50
#: Seconds after which a probe is lost.
_PATIENCE = 2.0
#: What the server's host has inside the tunnel, and the port that answers there.
NEAR = {4: ADDRESS["server"], 6: "fd00:201::ffff"}
PORT = 9000
_MTU = 1300


def inner(number: int) -> dict[int, str]:
    """Return the addresses of a peer's TUN."""
    return {4: f"10.201.{number >> 8}.{number & 255}", 6: f"fd00:201::{number:x}"}


def outer(number: int, place: int = 0) -> str:
    """Return an address that a peer comes from."""
    return str(CROWD[(place << 10) + number])


class Peer:
    """A client, one packet at a time."""

    def __init__(self, hosts: Hosts, number: int, identity: Identity, *, place: int = 0) -> None:
        self.number = number
        self.addresses = inner(number)
        with places.inside(hosts.outside):
            # Its kernel buffers are small, as those of a thousand others.
            self.udp = open_udp(outer(number, place), 0, device=None, remote=SERVER, drops=Counter())
        endpoint = ClientEndpoint(trust=Trust((hosts.server_pin,)), identity=identity, tun_mtu=_MTU)
        self.settings = Settings(
            IPv4Interface(f"{self.addresses[4]}/32"),
            tuple(map(ip_network, self.addresses.values())),
            tun6=IPv6Interface(f"{self.addresses[6]}/128"),
        )
        self.tunnel = ClientTunnel(endpoint.connect, os.urandom, time.monotonic(), self.settings)
        #: Inner packets that arrived.
        self.got: list[bytes] = []

    @property
    def up(self) -> bool:
        return self.tunnel.state == "up"

    def step(self, now: float) -> None:
        """Take what arrived, do what is due, send what there is to say."""
        arrivals = self.udp.receive()
        if arrivals:
            self.got += [b"".join(frame) for frame in self.tunnel.receive(arrivals, now)]
        self.tunnel.fire(now)
        if self.tunnel.needs_socket:
            self.tunnel.socket_ready(SERVER, now)
        self.udp.send(self.tunnel.flush(now))
        self.tunnel.changes()

    def send(self, version: int, body: bytes, *, source: str | None = None, to: str | None = None) -> None:
        """Send a UDP packet through the tunnel."""
        made = Packet(
            source=source or self.addresses[version],
            target=to or NEAR[version],
            ports=(PORT, PORT),
            protocol=UDP,
            body=body,
        )
        now = time.monotonic()
        self.tunnel.send([made.complete()], now)
        self.udp.send(self.tunnel.flush(now))

    def bodies(self) -> list[tuple[str, bytes]]:
        """Return the destinations and bodies of the UDP packets that arrived since the last call."""
        packets, self.got = self.got, []
        found = []
        for data in packets:
            v4 = data[0] >> 4 == 4
            address = data[16:20] if v4 else data[24:40]
            found.append((str(ip_address(address)), data[28 if v4 else 48 :]))
        return found

    def vanish(self) -> None:
        """Go without a word."""
        self.udp.close()


class Fleet:
    """Peers, and somebody in the server's TUN who answers them."""

    def __init__(self, hosts: Hosts, identities: Sequence[Identity]) -> None:
        self.hosts = hosts
        self.peers = [Peer(hosts, number, identity) for number, identity in enumerate(identities, 1)]
        self._epoll = select.epoll()
        self._by_fd: dict[int, Peer] = {}
        self._schedule: Schedule[Peer] = Schedule()
        self.near: dict[int, socket.socket] = {}
        for version, family in ((4, "0.0.0.0"), (6, "::")):
            self.near[version] = places.udp(hosts.ns["server"], (family, PORT))
            self._epoll.register(self.near[version].fileno(), select.EPOLLIN)
        #: What arrived in the server's TUN: who sent it, what it says.
        self.heard: list[tuple[str, bytes]] = []

    def admit(self, peer: Peer) -> None:
        """Let a peer live."""
        self._by_fd[peer.udp.fileno()] = peer
        self._epoll.register(peer.udp.fileno(), select.EPOLLIN)
        self._turn(peer)

    def expel(self, peer: Peer) -> None:
        """Let it live no more, without a word."""
        self._schedule.discard(peer)
        self._epoll.unregister(peer.udp.fileno())
        del self._by_fd[peer.udp.fileno()]
        peer.vanish()

    def step(self, wait: float = 0.02) -> None:
        """Let everybody have a turn who has something to do."""
        now = time.monotonic()
        events = self._epoll.poll(max(0.0, min(wait, self._schedule.next() - now)))
        for descriptor, _event in events:
            peer = self._by_fd.get(descriptor)
            if peer is not None:
                self._turn(peer)
        for sock in self.near.values():
            self.heard += [(source[0], data) for data, source in places.received(sock)]
        for peer in self._schedule.due(time.monotonic()):
            self._turn(peer)

    def let(self, seconds: float, also: Callable[[], None] = lambda: None) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            also()
            self.step(0.005)

    def connect(self, seconds: float = 60.0) -> float:
        """Connect everybody, some at a time; return how long it took."""
        start = time.monotonic()
        waiting, trying = list(self.peers), []
        while waiting or trying:
            assert time.monotonic() - start < seconds, [peer.tunnel.reason for peer in trying]
            trying = [peer for peer in trying if not peer.up]
            while waiting and len(trying) < _AT_ONCE:
                trying.append(waiting.pop(0))
                self.admit(trying[-1])
            self.step()
        return time.monotonic() - start

    def exchange(self, peers: Sequence[Peer], version: int, tag: bytes, also: Callable[[], None] | None = None) -> int:
        """Send a packet from each of these peers, and one back to each that was heard; return how many are missing.

        Every packet must come out at the right end, with the right source, and nowhere else.
        """
        waiting = list(peers)
        pending: dict[str, float] = {}
        by_source = {peer.addresses[version]: peer for peer in peers}
        lost = 0
        while waiting or pending:
            while waiting and len(pending) < _WINDOW:
                peer = waiting.pop()
                pending[peer.addresses[version]] = time.monotonic() + _PATIENCE
                peer.send(version, tag + peer.addresses[version].encode())
            if also is not None:
                also()
            self.step(0.005)
            for source, data in self._take(tag):
                assert data == tag + source.encode(), f"{data!r} came from {source}"
                if source in by_source:
                    self.near[version].sendto(data, (source, PORT))
            for peer in self._by_fd.values():
                for to, data in peer.bodies() if peer.got else ():
                    if not data.startswith(tag):
                        continue
                    assert to == peer.addresses[version], f"{to} got to {peer.number}"
                    assert data == tag + to.encode(), f"{data!r} got to {to}"
                    pending.pop(to, None)
            now = time.monotonic()
            late = [source for source, until in pending.items() if until < now]
            lost += len(late)
            for source in late:
                del pending[source]
        return lost

    def close(self) -> None:
        """Go politely."""
        now = time.monotonic()
        for peer in self._by_fd.values():
            peer.tunnel.close(now)
            peer.udp.send(peer.tunnel.flush(now))
            peer.udp.close()
        for sock in self.near.values():
            sock.close()
        self._epoll.close()

    def _turn(self, peer: Peer) -> None:
        peer.step(time.monotonic())
        self._schedule.put(peer, peer.tunnel.deadline())

    def _take(self, tag: bytes) -> list[tuple[str, bytes]]:
        heard, self.heard = self.heard, []
        return [(source, data) for source, data in heard if data.startswith(tag)]


def routes(hosts: Hosts) -> None:
    """Let the server's host have the peers' networks behind its TUN."""
    hosts.ip("server", f"route add 10.201.0.0/16 dev {TUN}")
    hosts.ip("server", f"addr add {NEAR[6]}/64 dev {TUN} nodad")
