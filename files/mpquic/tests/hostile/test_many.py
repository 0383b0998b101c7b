# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hundred peers on one port: who gets what, what each costs, and what one of them can do to the others."""

from __future__ import annotations

import os
import time
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import places
import pytest
from fleet import NEAR, Fleet, Peer, inner, routes
from mpquic.core.roster import Member, Roster
from mpquic.quic import Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hosts import Hosts

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

PEERS = 200
#: How many at a time are measured in the full form.
SIZES = (1, 50, 100, 200)
#: Seconds of each measurement.
SPAN = 10.0
#: Echoes of each peer under attack. Twice as many datagrams as STORM, and some more, per PAUSE (seconds) are what the
#: attacker sends; after MOVES of these pauses it comes from another address.
ROUNDS, STORM, PAUSE, MOVES = 3, 25, 0.02, 15
#: Time of a lookup among 200 peers by that among one; kB and CPU that a peer may cost at most.
FLAT, MAX_KB, MAX_CPU = 1.5, 300.0, 0.5


@pytest.fixture(scope="module")
def identities(hosts: Hosts) -> list[Identity]:
    """Give every peer a key, and tell the server of all of them."""
    pins = [hosts.make_key(f"peer{number}") for number in range(1, PEERS + 1)]
    peers = [
        {
            "name": f"peer{number}",
            "pins": [pin],
            "allowed": [f"{address}/{ip_address(address).max_prefixlen}" for address in inner(number).values()],
        }
        for number, pin in enumerate(pins, 1)
    ]
    hosts.configure("server", peers=peers, multi_conn_enabled=True, tun_cidr6=f"{NEAR[6]}/64", log_level="info")
    routes(hosts)
    return [
        Identity(hosts.folder / f"peer{number}.crt", hosts.folder / f"peer{number}.key")
        for number in range(1, PEERS + 1)
    ]


@pytest.fixture
def fleet(hosts: Hosts, identities: list[Identity]) -> Iterator[Fleet]:
    hosts.start("server")
    hosts.wait_state("server", "listening")
    fleet = Fleet(hosts, identities)
    try:
        yield fleet
    finally:
        fleet.close()
        hosts.stop("server")


def cpu(pid: int) -> float:
    """Return the processor time of a process (seconds)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Rascal:
    """A peer that does what it likes within its sockets."""

    def __init__(self, fleet: Fleet, peer: Peer, identity: Identity) -> None:
        self._fleet, self._identity = fleet, identity
        self._turn = 0
        self._next = 0.0
        self.peer = self._unbound(peer)
        self.sent = 0
        self.moves = 0

    def act(self) -> None:
        """Send garbage, forgeries and too much; now and then come back from another address."""
        fleet, peer = self._fleet, self.peer
        connection = peer.tunnel.connection
        now = time.monotonic()
        if not peer.up or connection is None or now < self._next:
            return
        self._next = now + PAUSE
        self._turn += 1
        other = fleet.peers[self._turn % 50]
        for version in (4, 6):
            peer.send(version, b"forged", source=other.addresses[version])
            peer.send(version, b"flood" + bytes(1000))
        # Packets of its own connection that cannot be opened, and what is no packet at all.
        cid = connection._connection._peer_cid.cid  # type: ignore[attr-defined]
        peer.udp.send([(b"\x40" + cid + os.urandom(1200), ()) for _ in range(STORM)])
        peer.udp.send([(os.urandom(1 + self._turn % 1400), ()) for _ in range(STORM)])
        self.sent += 2 * STORM + 4
        if self._turn % MOVES == 0:
            self._move()

    @staticmethod
    def _unbound(peer: Peer) -> Peer:
        """Take away what keeps a client of ours to its own addresses."""
        peer.tunnel._outbound.passing = lambda reads, _at, _drops: reads  # type: ignore[method-assign]
        return peer

    def _move(self) -> None:
        """Register from another address: a second connection of the same peer."""
        self.moves += 1
        old = self.peer
        self.peer = self._unbound(Peer(self._fleet.hosts, old.number, self._identity, place=1 + self.moves % 50))
        self._fleet.expel(old)
        self._fleet.admit(self.peer)


def test_two_hundred_peers(
    hosts: Hosts, fleet: Fleet, identities: list[Identity], figure: Callable[[str, object], None], *, full: bool
) -> None:
    server = hosts.status("server")["pid"]
    figure("connected after (s)", round(fleet.connect(), 1))
    assert hosts.status("server")["reason"] == f"{PEERS} of {PEERS} peers up"
    # Each has its own packets and nobody else's, both ways.
    for version in (4, 6):
        assert fleet.exchange(fleet.peers, version, b"first ") == 0
    before = {peer["name"]: peer for peer in hosts.status("server")["peers"]}
    assert {peer["state"] for peer in before.values()} == {"up"}

    # One goes without a word, one does everything that it should not.
    gone, *others = fleet.peers
    fleet.expel(gone)
    rascal = Rascal(fleet, others.pop(), identities[-1])
    spent, start = cpu(server), time.monotonic()
    lost = 0
    for turn in range(ROUNDS * (5 if full else 1)):
        for version in (4, 6):
            lost += fleet.exchange(others, version, f"storm {turn} ".encode(), rascal.act)
        # It is sent to all the same.
        fleet.near[4].sendto(b"anybody?", (gone.addresses[4], 9))
    seconds = time.monotonic() - start
    figure("echoes under attack, lost", (len(others) * 2 * ROUNDS * (5 if full else 1), lost))
    figure("datagrams of the attacker, and addresses that it came from", (rascal.sent, rascal.moves))
    figure("server's CPU meanwhile", f"{(cpu(server) - spent) / seconds:.0%}")
    assert lost == 0
    assert rascal.sent > 1000
    assert rascal.moves > 0

    after = {peer["name"]: peer for peer in hosts.status("server")["peers"]}
    for peer in others:
        name = f"peer{peer.number}"
        assert after[name]["session"] == before[name]["session"], name
        assert after[name]["drops"] == {}
    # Who comes from another address replaces itself: it is one peer, and no more.
    bad = after[f"peer{rascal.peer.number}"]
    assert bad["connects"] > 1
    assert bad["drops"]["source"] > 0
    assert len(after) == PEERS
    # Whatever it is sent, it is where it came from last.
    while not rascal.peer.up:
        fleet.step()
    assert fleet.exchange([rascal.peer], 4, b"last ") == 0
    if full:
        fleet.let(6)
        assert hosts.peer("peer1")["state"] == "waiting"
        assert hosts.status("server")["reason"] == f"{PEERS - 1} of {PEERS} peers up"
    assert "Traceback" not in hosts.log("server")


@pytest.mark.skipif(os.environ.get("MPQUIC_HOSTILE") != "full", reason="takes a minute and an idle machine")
@pytest.mark.parametrize("count", SIZES)
def test_what_a_peer_costs(hosts: Hosts, fleet: Fleet, figure: Callable[[str, object], None], count: int) -> None:
    server = hosts.status("server")["pid"]
    empty = places.memory(server)
    fleet.peers[count:] = []
    begin = cpu(server)
    fleet.connect()
    connecting = (cpu(server) - begin) / count
    fleet.let(1)
    grown = places.memory(server) - empty
    begin = cpu(server)
    fleet.let(SPAN)
    idle = (cpu(server) - begin) / SPAN
    begin, start, packets = cpu(server), time.monotonic(), 0
    while time.monotonic() - start < SPAN:
        assert fleet.exchange(fleet.peers, 4, b"x") == 0
        packets += 2 * count
    per_packet = (cpu(server) - begin) / packets
    figure(
        f"{count} peers: memory empty, grown (MB), per peer (kB); CPU per handshake (ms), idle (%), per packet (us)",
        (
            round(empty, 1),
            round(grown, 1),
            round(1000 * grown / count, 1),
            round(1000 * connecting, 1),
            round(100 * idle, 2),
            round(1e6 * per_packet, 1),
        ),
    )
    assert 100 * idle < MAX_CPU * count + 1
    if count >= SIZES[1]:
        assert 1000 * grown / count < MAX_KB


def roster(count: int) -> Roster:
    """Return as many peers as there are, with two addresses and a network each."""
    return Roster(
        [
            Member(
                f"peer{number}",
                (*map(ip_network, inner(number).values()), ip_network(f"172.{16 + number // 256}.{number % 256}.0/24")),
            )
            for number in range(1, count + 1)
        ]
    )


def lookup(count: int, *, remembered: bool) -> float:
    """Return the time to find the owner of an address (seconds), at its best of many."""
    table = roster(count).table
    addresses = [ip_address(inner(number)[4]).packed for number in range(1, count + 1)]
    addresses *= 200 // count
    look = table.owner if remembered else table._search
    best = 1.0
    for _ in range(50):
        start = time.perf_counter()
        for address in addresses:
            look(address)
        best = min(best, time.perf_counter() - start)
    return best / len(addresses)


def test_a_lookup_asks_as_many_tables_among_many_peers() -> None:
    sizes = [[len(tables) for tables in roster(count).table._tables.values()] for count in SIZES]
    assert sizes == [sizes[0]] * len(sizes)


@pytest.mark.skipif(os.environ.get("MPQUIC_HOSTILE") != "full", reason="takes an idle machine")
@pytest.mark.parametrize("remembered", [True, False])
def test_the_cost_of_a_lookup_is_flat(figure: Callable[[str, object], None], *, remembered: bool) -> None:
    found = {count: lookup(count, remembered=remembered) for count in SIZES}
    kind = "of an address seen before" if remembered else "of a new address"
    figure(f"lookup {kind} (ns), by number of peers", {count: round(1e9 * took) for count, took in found.items()})
    assert found[SIZES[-1]] < FLAT * found[SIZES[0]]
