# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table gives each flow to the tunnel of its class and keeps it there; links stand for the TUN devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nft_table import render, sh

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = {
    "tuns": ["mpq1", "mpq2"],
    "masquerade": ["10.200.1.0/30", "172.16.1.0/30"],
    "guards": [
        {"interface": "enp6s20", "cidrs": ["172.16.1.0/30", "172.17.0.0/24"], "tuns": ["mpq1"]},
        {"interface": "enp6s21", "cidrs": ["172.16.2.0/30"], "tuns": ["mpq2"]},
    ],
}
PLAIN_TABLE = (Path(__file__).parent / "plain.nft").read_text()


def test_a_site_without_classes_has_the_table_that_it_had():
    assert render(PLAIN) == PLAIN_TABLE


def match(**given: list[Any]) -> dict[str, list[Any]]:
    return {key: given.get(key, []) for key in ("lan", "protocol", "src", "dst", "sports", "dports", "dscp")}


def site(**changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the plan's ``nft`` of a client with three classes; ``changes`` are matches by class."""
    matches = {
        "cr5": [
            match(protocol=["udp"], dports=[5060, "10000-20000"], dscp=[46]),
            match(src=["172.16.5.2/32"], dst=["192.0.2.99/32", "2001:db8:99::/48"]),
            match(protocol=["icmpv6"]),
            match(protocol=["tcp"], sports=[40020, 40022]),
        ],
        "bk5": [
            match(protocol=["tcp", "udp"], dports=["5001-6000"]),
            match(dst=["2001:db8:1::/48"]),
            match(protocol=["tcp", "udp"], sports=["40100-40110"], dports=[7000]),
        ],
        **changes,
    }
    classes = [
        {"name": name, "tun": name, "mark": (16 + k) << 16, "matches": matches.get(name, [])}
        for k, name in enumerate(("cr5", "df5", "bk5"), start=1)
    ]
    lan = {"interface": "lan0", "cidrs4": ["172.16.5.0/30"], "cidrs6": ["fd00:5::/64"]}
    return {
        "tuns": ["mpq5", "cr5", "df5", "bk5"],
        "masquerade": [],
        "guards": [
            {"interface": "lan0", "cidrs": ["172.16.5.0/30", "fd00:5::/64"], "tuns": ["mpq5", "cr5", "df5", "bk5"]}
        ],
        "nat_tuns": ["cr5", "df5"],
        "classify": {"links": [{"name": "mt1", "lans": [lan], "classes": classes, "default": "df5"}]},
    }


TUNS = {"mpq5": 500, "cr5": 200, "df5": 201, "bk5": 202}
LINKS = (*TUNS, "wan0")
# The client's rules by priority: the LAN's own, and one for each class.
RULES = {
    priority: f"{f'fwmark {(16 + k) << 16:#x}/0x0fff0000' if k else 'iif lan0'} lookup {46000 + k}"
    for k, priority in enumerate(TUNS.values())
}

_SEND = """
import json, socket, sys
for protocol, port, address, dport, dscp in json.loads(sys.argv[1]):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[protocol]
    with socket.socket(family, kind) as s:
        level, option = (41, 67) if family == socket.AF_INET6 else (0, 1)  # IPV6_TCLASS, IP_TOS
        s.setsockopt(level, option, dscp << 2)
        s.bind(("", port))
        s.setblocking(False)
        s.connect_ex((address, dport))
        if protocol == "udp":
            s.send(b"x")
"""
_WATCH = """
import json, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
print("ready", flush=True)
while True:
    data, (link, _, kind, _, _) = s.recvfrom(2048)
    if kind == socket.PACKET_OUTGOING or link == "lo":
        continue
    six = data[0] >> 4 == 6
    head, protocol = (40, data[6]) if six else (20, data[9])
    ends = (data[8:24], data[24:40]) if six else (data[12:16], data[16:20])
    source, target = (socket.inet_ntop(socket.AF_INET6 if six else socket.AF_INET, end) for end in ends)
    if source.startswith(("::", "fe80:")):  # neighbour discovery
        continue
    ports = [int.from_bytes(data[head + i : head + i + 2], "big") for i in (0, 2)]
    print(json.dumps([link, protocol, source, ports[0], target, ports[1]]), flush=True)
"""
# An echo request from far away, without a checksum for what is inside: the answer is all that counts.
_PING = """
import socket, struct, sys
link, source, target = sys.argv[1:]
def total(data):
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return ~value & 0xFFFF
echo = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
echo = echo[:2] + struct.pack("!H", total(echo)) + echo[4:]
head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 60, 1, 0, *map(socket.inet_aton, (source, target)))
head = head[:10] + struct.pack("!H", total(head)) + head[12:]
with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as s:
    s.sendto(head + echo, (link, 0x0800, 0, 0, b"\\x02\\0\\0\\0\\0\\x01"))
"""


class Places:
    """A LAN, a client with four TUN devices and a WAN, and the far ends of these."""

    def __init__(self) -> None:
        self.names = {place: f"mqc{place[0]}{os.getpid()}" for place in ("lan", "client", "far")}

    def sh(self, place: str, command: str, stdin: str | None = None) -> str:
        return sh(f"ip netns exec {self.names[place]} {command}", stdin)

    def build(self) -> None:
        for name in self.names.values():
            sh(f"ip netns add {name}")
            sh(f"ip -n {name} link set lo up")
        lan, client, far = self.names.values()
        sh(f"ip link add eth0 netns {lan} type veth peer name lan0 netns {client}")
        for link in LINKS:
            sh(f"ip link add {link} netns {far} type veth peer name {link} netns {client}")
        # Nobody asks for a link-layer address, as on a TUN device, so both ends have the same: a packet that waited for
        # an answer would come when the next test looks.
        ends = [(lan, "eth0"), (client, "lan0")] + [(name, link) for link in LINKS for name in (client, far)]
        for name, link in ends:
            sh(f"ip -n {name} link set {link} address 02:00:00:00:00:01 arp off up")
        addresses = [(lan, "eth0", "172.16.5.2/30"), (client, "lan0", "172.16.5.1/30")]
        addresses += [(lan, "eth0", "fd00:5::2/64 nodad"), (client, "lan0", "fd00:5::1/64 nodad")]
        for k, link in enumerate(LINKS, start=1):
            addresses += [(client, link, f"10.200.10.{k}/32"), (client, link, f"fd6d::{k}/128 nodad")]
        for name, link, address in addresses:
            sh(f"ip -n {name} address add {address} dev {link}")
        for family, router in (("-4", "172.16.5.1"), ("-6", "fd00:5::1")):
            sh(f"ip {family} -n {lan} route add default via {router}")
            sh(f"ip {family} -n {client} route add default dev wan0")
            for priority, rule in RULES.items():
                sh(f"ip {family} -n {client} rule add priority {priority} {rule}")
            for k, name in enumerate(TUNS):
                sh(f"ip {family} -n {client} route add default dev {name} table {46000 + k}")
        self.sh("client", "sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")

    def remove(self) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    @contextmanager
    def without_rules(self, *priorities: int) -> Iterator[None]:
        """Take routing rules of the client away, in both address families, for as long as the context lasts."""
        rules = [(family, priority) for family in ("-4", "-6") for priority in priorities]
        for family, priority in rules:
            sh(f"ip {family} -n {self.names['client']} rule del priority {priority}")
        try:
            yield
        finally:
            for family, priority in rules:
                sh(f"ip {family} -n {self.names['client']} rule add priority {priority} {RULES[priority]}")

    def seen(self, *doing: list[str], expected: int) -> list[list[Any]]:
        """Return what comes to the far ends while commands run in a place: link, protocol, source, target."""
        command = ["ip", "netns", "exec", self.names["far"], sys.executable, "-c", _WATCH]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
            assert watch.stdout is not None
            deadline = threading.Timer(20, watch.kill)
            deadline.start()
            try:
                assert watch.stdout.readline() == "ready\n"
                for place, *argv in doing:
                    command = ["ip", "netns", "exec", self.names[place], sys.executable, "-c", *argv]
                    subprocess.run(command, check=True, timeout=20)
                lines = [watch.stdout.readline() for _ in range(expected)]
                # What should not be there has had its time.
                time.sleep(0 if expected else 0.2)
            finally:
                deadline.cancel()
                watch.kill()
            lines += watch.stdout.readlines()
        return [json.loads(line) for line in lines if line]

    def sent(self, *packets: tuple[str, int, str, int, int], expected: int | None = None) -> dict[int, list[str]]:
        """Send packets of the LAN (protocol, source port, address, port, DSCP); return link and source by port."""
        count = len(packets) if expected is None else expected
        found: dict[int, list[str]] = {}
        for link, _, source, sport, _, _ in self.seen(["lan", _SEND, json.dumps(packets)], expected=count):
            found.setdefault(sport, []).extend([link, source])
        return found


SHAPED = ("wan0", "df5")


@pytest.fixture
def shaper(client):
    """Give a function that returns how many packets each class of two links has sent, the default left out."""
    name = client.names["client"]

    def counted() -> dict[tuple[str, str], int]:
        found = {}
        for link in SHAPED:
            for part in sh(f"tc -n {name} -s class show dev {link}").split("class htb ")[1:]:
                found[link, part.split()[0]] = int(part.split(" Sent ")[1].split()[2])
        # The kernel's own multicast goes by the default, at times of its own.
        return {place: packets for place, packets in found.items() if packets and place[1] != "6d71:1"}

    try:
        for link in SHAPED:
            sh(f"tc -n {name} qdisc add dev {link} root handle 6d71: htb default 1")
            for minor in ("1", "101", "102", "1ff"):
                sh(f"tc -n {name} class add dev {link} parent 6d71: classid 6d71:{minor} htb rate 100mbit quantum 1500")
        # What the client sends there does not go by the WAN.
        for address in ("198.51.100.1", "2001:db8:51::1"):
            sh(f"ip -n {name} route add {address} dev df5")
        yield counted
    finally:
        for address in ("198.51.100.1", "2001:db8:51::1"):
            subprocess.run(["ip", "-n", name, "route", "del", address], check=False, capture_output=True)
        for link in SHAPED:
            subprocess.run(["tc", "-n", name, "qdisc", "del", "dev", link, "root"], check=False, capture_output=True)
        client.sh("client", "nft -f -", render(site()))


@pytest.fixture(scope="module")
def client():
    """Give the client, with our table loaded."""
    places = Places()
    try:
        places.build()
        places.sh("client", "nft -f -", render(site()))
        yield places
    finally:
        places.remove()


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
class TestOnTheWire:
    """What leaves by which TUN, and with which source."""

    def test_each_match_has_its_tunnel(self, client):
        cr, df, bk = (["cr5", "10.200.10.2"], ["df5", "10.200.10.3"], ["bk5", "172.16.5.2"])
        cr6, df6, bk6 = (["cr5", "fd6d::2"], ["df5", "fd6d::3"], ["bk5", "fd00:5::2"])
        packets = {
            ("udp", 40001, "192.0.2.80", 5060, 46): cr,
            ("udp", 40002, "192.0.2.80", 15000, 46): cr,
            ("udp", 40003, "192.0.2.80", 15000, 0): df,
            ("udp", 40004, "192.0.2.80", 20001, 46): df,
            ("udp", 40005, "192.0.2.99", 9, 0): cr,
            ("tcp", 40006, "192.0.2.80", 443, 0): df,
            ("tcp", 40007, "192.0.2.80", 5001, 0): bk,
            ("udp", 40008, "192.0.2.80", 6000, 0): bk,
            ("tcp", 40009, "192.0.2.80", 6001, 0): df,
            ("udp", 40011, "2001:db8:80::80", 5060, 46): cr6,
            ("udp", 40012, "2001:db8:80::80", 15000, 0): df6,
            ("udp", 40013, "2001:db8:1::1", 53, 0): bk6,
            ("udp", 40014, "2001:db8:99::1", 53, 0): df6,  # the match has this destination, but an IPv4 source
            ("tcp", 40015, "2001:db8:80::80", 5500, 0): bk6,
            ("tcp", 40020, "192.0.2.80", 443, 0): cr,
            ("tcp", 40021, "192.0.2.80", 40020, 0): df,
            ("udp", 40022, "192.0.2.80", 443, 0): df,
            ("udp", 40101, "192.0.2.80", 7000, 0): bk,
            ("udp", 40102, "192.0.2.80", 7001, 0): df,
            ("tcp", 40103, "2001:db8:80::80", 7000, 0): bk6,
            ("tcp", 40111, "2001:db8:80::80", 7000, 0): df6,
        }
        assert client.sent(*packets) == {packet[1]: where for packet, where in packets.items()}

    def test_a_flow_stays_where_it_began(self, client):
        first = client.sent(("udp", 41001, "192.0.2.80", 5060, 46))
        assert first == client.sent(("udp", 41001, "192.0.2.80", 5060, 0)) == {41001: ["cr5", "10.200.10.2"]}

    def test_what_came_by_a_tunnel_is_answered_by_it(self, client):
        for link in TUNS:
            ping = ["far", _PING, link, f"192.0.2.{10 + len(link) + ord(link[0])}", "172.16.5.2"]
            assert [entry[0] for entry in client.seen(ping, expected=1)] == [link]

    def test_a_flow_that_goes_on_by_another_tunnel_stays_where_it_began(self, client):
        for link in ("cr5", "df5", "mpq5"):
            ping = ["far", _PING, link, "192.0.2.7", "172.16.5.2"]
            assert [entry[0] for entry in client.seen(ping, expected=1)] == ["cr5"]

    def test_without_its_rule_a_class_goes_nowhere(self, client):
        packets = (("udp", 42001, "192.0.2.80", 5060, 46), ("udp", 42002, "2001:db8:80::80", 5060, 46))
        with client.without_rules(200):
            assert client.sent(*packets, expected=0) == {}
        assert client.sent(*packets) == {42001: ["cr5", "10.200.10.2"], 42002: ["cr5", "fd6d::2"]}

    @pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
    def test_without_any_rule_a_lan_goes_nowhere(self, client, marked):
        four, six = (42003, 42004) if marked else (42005, 42006)
        packets = (("udp", four, "192.0.2.80", 9, 0), ("udp", six, "2001:db8:80::80", 9, 0))
        # Somebody else's table may clear the mark after ours has set it.
        clear = "" if marked else "meta mark set 0"
        rules = f"table inet other {{ chain late {{ type filter hook prerouting priority -149; {clear}; }}; }}"
        client.sh("client", "nft -f -", rules)
        try:
            with client.without_rules(*RULES):
                assert client.sent(*packets, expected=0) == {}
                # It is our guard that holds them back: there is a route.
                client.sh("client", "nft flush chain inet mpquic guard")
                assert client.sent(*packets) == {four: ["wan0", "172.16.5.2"], six: ["wan0", "fd00:5::2"]}
        finally:
            client.sh("client", "nft delete table inet other")
            client.sh("client", "nft -f -", render(site()))

    @pytest.mark.parametrize("found", ["0x7000abcd", "0x7fffabcd"], ids=["others", "others and stale"])
    def test_marks_of_others_stay(self, client, found):
        rules = f"""table inet other {{
            chain early {{
                type filter hook prerouting priority -170;
                meta mark set {found}
                ct state new ct mark set {found}
            }}
            chain late {{
                type filter hook forward priority 0;
                udp dport 5999 meta mark 0x7013abcd counter
                udp dport 5999 ct mark 0x7013abcd counter
                iifname cr5 ct mark 0x7011abcd counter
            }}
        }}"""
        client.sh("client", "nft -f -", rules)
        try:
            port = 43001 if found == "0x7000abcd" else 43002
            assert client.sent(("udp", port, "192.0.2.80", 5999, 0)) == {port: ["bk5", "172.16.5.2"]}
            ping = ["far", _PING, "cr5", f"192.0.2.{port - 43000}", "172.16.5.2"]
            assert [entry[0] for entry in client.seen(ping, expected=1)] == ["cr5"]
            assert client.sh("client", "nft list chain inet other late").count("counter packets 1 ") == 3
        finally:
            client.sh("client", "nft delete table inet other")

    def test_a_flow_of_a_class_that_is_gone_is_classified_anew(self, client):
        assert client.sent(("udp", 44001, "192.0.2.80", 5500, 0)) == {44001: ["bk5", "172.16.5.2"]}
        fewer = site()
        classes = fewer["classify"]["links"][0]["classes"]
        fewer["classify"]["links"][0]["classes"] = [entry for entry in classes if entry["name"] != "bk5"]
        client.sh("client", "nft -f -", render(fewer | {"nat_tuns": []}))
        try:
            assert client.sent(("udp", 44001, "192.0.2.80", 5500, 0)) == {44001: ["df5", "172.16.5.2"]}
        finally:
            client.sh("client", "nft -f -", render(site()))

    @pytest.mark.parametrize(("interface", "port_key"), [("wan0", "dport"), (None, "sport")], ids=["client", "server"])
    def test_the_tunnels_packets_have_the_classes_of_the_shaper(self, client, shaper, interface, port_key):
        told = [(45010, 46, "6d71:101"), (45010, 0, "6d71:102"), (45005, None, "6d71:1ff")]
        keys = ("port", "dscp", "classid")
        shape = [{"interface": interface, "port_key": port_key, **dict(zip(keys, each, strict=True))} for each in told]
        client.sh("client", "nft -f -", render(site() | {"shape": shape}))
        wan, tun = ("192.0.2.80", "2001:db8:80::80"), ("198.51.100.1", "2001:db8:51::1")
        packets = []
        for address in (*wan, *tun):
            for port, dscp, count in ((45010, 46, 1), (45010, 0, 2), (45010, 8, 3), (45005, 46, 4), (45006, 46, 5)):
                ends = (45100, address, port) if port_key == "dport" else (port, address, 45100)
                packets += [("udp", *ends, dscp)] * count
        client.seen(["client", _SEND, json.dumps(packets)], expected=len(packets))
        # One, two and four packets in each address family; all others are in the default.
        classes = {"6d71:101": 2, "6d71:102": 4, "6d71:1ff": 8}
        links = [interface] if interface else SHAPED
        assert shaper() == {(link, handle): count for link in links for handle, count in classes.items()}
