# SPDX-License-Identifier: GPL-3.0-or-later
"""Cryptokey routing: what a peer may send from, and what it gets, with many peers on one server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

import forged
import places
import pytest
from caller import Caller, drive, let
from mpquic.core.wire import wrap
from wan import ADDRESS, TUN, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hosts import Hosts

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

PEERS = 8
SERVER = {4: ADDRESS["server"], 6: "fd00:9::ffff"}
NOBODY = {4: "203.0.113.5", 6: "2001:db8::5"}
MARTIANS = {
    4: ["0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
    6: ["::", "::1", "ff02::1", "::ffff:10.200.9.101"],
}
#: Of a peer that does not register.
LATE = "10.200.9.50"
#: Packets of each kind.
COPIES = 3


def name(number: int) -> str:
    return f"peer{number}"


def owned(number: int) -> dict[int, list[str]]:
    """Return an address of a peer's TUN and one of its LAN, for each IP version."""
    return {
        4: [f"10.200.9.{100 + number}", f"172.16.{number}.2"],
        6: [f"fd00:9::{number}", f"fd00:16:{number}::2"],
    }


def prefixes(number: int) -> list[IPv4Network | IPv6Network]:
    return [
        ip_network(text)
        for text in (f"10.200.9.{100 + number}", f"172.16.{number}.0/30", f"fd00:9::{number}", f"fd00:16:{number}::/64")
    ]


@pytest.fixture(scope="module")
def crowd(hosts: Hosts) -> Iterator[list[Caller]]:
    """Eight peers, connected to a server that knows no other."""
    hosts.configure("server", peers=[], tun_cidr6=f"{SERVER[6]}/64")
    hosts.know("late", f"{LATE}/32")
    for number in range(PEERS):
        hosts.know(name(number), *map(str, prefixes(number)))
    hosts.ip("server", f"addr add {SERVER[6]}/64 dev {TUN} nodad")
    hosts.start("server")
    hosts.wait_state("server", "listening")
    callers = [hosts.caller(name(number), *prefixes(number)) for number in range(PEERS)]
    drive(*callers, until=lambda: all(caller.registered for caller in callers), seconds=10)
    until(lambda: sum(peer["state"] == "up" for peer in hosts.status("server")["peers"]) == PEERS, 5)
    yield callers
    for caller in callers:
        caller.close()


class Verdicts:
    """What the server says of each peer's packets, "passed" and by reason, since this was made."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._before = self._all()

    def _all(self) -> dict[str, Counter[str]]:
        peers = self._hosts.status("server")["peers"]
        return {peer["name"]: Counter({"passed": peer["rx_packets"], **peer["drops"]}) for peer in peers}

    def __call__(self) -> dict[str, Counter[str]]:
        return {name: after - self._before[name] for name, after in self._all().items()}

    def after(self, sent: int, callers: list[Caller]) -> dict[str, Counter[str]]:
        """Return them when so many packets were judged, and no more came."""
        drive(*callers, until=lambda: self.count() >= sent, seconds=10, what=f"{sent} packets judged")
        let(*callers, seconds=0.1)
        return self()

    def count(self) -> int:
        return sum(counter.total() for counter in self().values())


def test_only_the_diagonal_passes(hosts: Hosts, crowd: list[Caller], figure: Callable[[str, object], None]) -> None:
    tun = hosts.tap("server")
    verdicts = Verdicts(hosts)
    expected: dict[str, Counter[str]] = {peer: Counter() for peer in ("late", *map(name, range(PEERS)))}
    through: list[bytes] = []
    sent = 0
    for number, caller in enumerate(crowd):
        for version in (4, 6):
            sources = [(source, "passed") for source in owned(number)[version]]
            sources += [(s, "source") for other in range(PEERS) if other != number for s in owned(other)[version]]
            sources += [(SERVER[version], "martian"), (NOBODY[version], "source")]
            sources += [(source, "martian") for source in MARTIANS[version]]
            for source, verdict in COPIES * sources:
                packet = forged.packet(source, SERVER[version])
                caller.send([packet])
                expected[name(number)][verdict] += 1
                sent += 1
                if verdict == "passed":
                    through.append(packet)
        # From its own address to what no packet goes to.
        for version in (4, 6):
            for target in MARTIANS[version]:
                caller.send([forged.packet(owned(number)[version][0], target)])
                expected[name(number)]["martian"] += 1
                sent += 1
        found = verdicts.after(sent, crowd)
    assert found == expected
    arrived = forged.only(places.tapped(tun, outgoing=False))
    assert sorted(arrived) == sorted(through)
    figure("packets sent, passed", (sent, len(arrived)))
    figure("dropped by reason, all peers", dict(sum((Counter(c) for c in found.values()), Counter[str]())))
    assert not any(caller.over for caller in crowd)


def test_what_is_no_packet_is_dropped_and_counted(hosts: Hosts, crowd: list[Caller]) -> None:
    tun, verdicts = hosts.tap("server"), Verdicts(hosts)
    good = {version: forged.packet(owned(0)[version][0], SERVER[version], 100) for version in (4, 6)}
    broken = {
        "inner_short": [good[4][:19], good[6][:39], b"", b"\x4f" + good[4][1:40]],
        "inner_length": [good[4][:-1], good[4] + b"\0", good[6][:-1], good[6] + b"\0"],
        "inner_version": [b"\x55" + good[4][1:], b"\x44" + good[4][1:], bytes(100)],
    }
    payloads = {reason: wrap(packets) for reason, packets in broken.items()}
    payloads["context"] = [b"\x01" + good[4], b"\x40\x3f" + good[4], b"\xff" * 30]
    payloads["partial"] = [b"\x06" + good[4], b"\x06"]
    payloads["malformed"] = [b"", b"\x40"]
    caller = crowd[0]
    # Between two that are right, in one flight.
    for wrong in payloads.values():
        caller.push([*wrap([good[4]]), *wrong, *wrap([good[6]])])
    sent = sum(map(len, payloads.values())) + 2 * len(payloads)
    found = verdicts.after(sent, crowd)[name(0)]
    assert found == {"passed": 2 * len(payloads), **{reason: len(wrong) for reason, wrong in payloads.items()}}
    arrived = forged.only(places.tapped(tun, outgoing=False))
    assert sorted(arrived) == sorted(len(payloads) * list(good.values()))


def test_a_run_of_segments_hides_nobody(hosts: Hosts, crowd: list[Caller]) -> None:
    """What is merged into one large packet was judged one by one."""
    tun, verdicts = hosts.tap("server"), Verdicts(hosts)
    own, other = owned(0)[4][0], owned(1)[4][0]
    packets = [segment(own if number % 4 else other, number) for number in range(64)]
    # Context 6 leaves the checksum to the receiver, the condition for a merge (docs/protocol.md).
    crowd[0].push([b"\x06" + packet for packet in packets])
    found = verdicts.after(len(packets), crowd)[name(0)]
    assert found == {"passed": 48, "source": 16}
    arrived = places.tapped(tun, outgoing=False)
    assert {data[12:16] for data in arrived} == {socket.inet_aton(own)}
    assert sum(len(data) - 28 for data in arrived) == 48 * 100


def segment(source: str, number: int) -> bytes:
    """Return a UDP packet that follows the one before, its checksum left to be completed."""
    one, other = socket.inet_aton(source), socket.inet_aton(SERVER[4])
    header = (
        b"\x45\x00" + (128).to_bytes(2, "big") + number.to_bytes(2, "big") + b"\x40\x00\x40\x11\x00\x00" + one + other
    )
    pseudo = one + other + b"\x00\x11" + (108).to_bytes(2, "big")
    total = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, len(pseudo), 2))
    total = (total & 0xFFFF) + (total >> 16)
    ports = (4000).to_bytes(2, "big") + (4001).to_bytes(2, "big")
    return forged.with_checksum(header) + ports + (108).to_bytes(2, "big") + total.to_bytes(2, "big") + bytes(100)


#: Sends one packet with a mark to each address, from inside the server's namespace.
_SEND = """
import socket, sys
for text in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, 253) as sock:
        sock.sendto(b"forged" + text.encode(), (text, 0))
"""


def test_each_gets_its_own_and_nobody_else_s(hosts: Hosts, crowd: list[Caller]) -> None:
    for route in (
        "172.16.0.0/16",
        "fd00:16::/32",
        "203.0.113.0/24",
        "2001:db8::/32",
        "10.200.9.100/30",
        "10.200.9.104/30",
    ):
        hosts.ip("server", f"route add {route} dev {TUN}")
    mine = {number: [text for version in (4, 6) for text in owned(number)[version]] for number in range(PEERS)}
    nobodys = [*NOBODY.values(), "172.16.0.5", "172.16.200.1", "fd00:16:99::1"]
    targets = [*(text for texts in mine.values() for text in texts), *nobodys]
    command = ["ip", "netns", "exec", hosts.ns["server"], sys.executable, "-c", _SEND, *targets]
    subprocess.run(command, check=True, timeout=20)
    wanted = sum(map(len, mine.values()))
    drive(*crowd, until=lambda: sum(len(marked(caller)) for caller in crowd) >= wanted, seconds=5)
    let(*crowd, seconds=0.2)
    assert {number: sorted(marked(caller)) for number, caller in enumerate(crowd)} == {
        number: sorted(texts) for number, texts in mine.items()
    }
    assert hosts.status("server")["drops"]["no_peer"] >= len(nobodys)


def marked(caller: Caller) -> list[str]:
    """Return the addresses that the packets which came out of a tunnel were sent to."""
    found = []
    for data in caller.inner:
        body = data[20:] if data[0] >> 4 == 4 else data[40:]
        if body.startswith(b"forged"):
            found.append(body[6:].decode())
    return found


def test_nothing_passes_before_the_registration(hosts: Hosts, crowd: list[Caller]) -> None:
    tun = hosts.tap("server")
    pushes = [forged.packet(LATE, SERVER[4])] * 7
    early = hosts.caller("late", ip_network(LATE), says=b"", pushes=pushes)
    before = hosts.status("server")["drops"].get("not_registered", 0)
    drive(
        early, *crowd, until=lambda: hosts.status("server")["drops"].get("not_registered", 0) == before + 7, seconds=5
    )
    assert not forged.only(places.tapped(tun, outgoing=False))
    assert hosts.peer("late")["state"] == "waiting"
    assert not early.over
    early.close()
