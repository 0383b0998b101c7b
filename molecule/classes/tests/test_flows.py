# SPDX-License-Identifier: GPL-3.0-or-later
"""Real flows of every class at once: captures, counters and ``mpquic explain`` agree on the tunnel of each packet."""

from __future__ import annotations

import json
import re

import pytest
from conftest import WEB, instances, out, play, recap, run, unwatched, wait_for, watch
from flows import WEB6, flow, result, server
from links import CLASSES, ENDS, LAN, PORT, VPS_TUN, outer_ports

CALLS = 200
SIZE_OF_CALL = 172
INNER = "not icmp6 and not icmp"


@pytest.fixture(scope="module", autouse=True)
def _server():
    with server():
        yield


def test_a_second_run_changes_nothing():
    assert {host: counts["changed"] for host, counts in recap(play()).items()} == dict.fromkeys(ENDS, 0)


@pytest.mark.parametrize("host", ENDS)
def test_a_host_that_forwards_ipv6_goes_on_taking_router_advertisements(host):
    settings = ("all/forwarding", "mgmt0/accept_ra")
    assert [out(host, f"cat /proc/sys/net/ipv6/conf/{name}").strip() for name in settings] == ["1", "2"]


def test_every_end_is_up_and_the_vps_shows_who_is_who():
    wait_for(lambda: all(instances("client1")[name]["state"] == "up" for name in CLASSES), seconds=20, what="all up")
    peers = {peer["name"]: peer for peer in instances("vps1")["mt1"]["peers"]}
    assert set(peers) == {f"client1.{name}" for name in CLASSES}
    assert {peer["state"] for peer in peers.values()} == {"up"}


def ends(line: str) -> tuple[str, int, str, int]:
    """Return source, port, destination, port of a line of tcpdump."""
    match = re.search(r"IP6? ([0-9a-f.:]+)\.(\d+) > ([0-9a-f.:]+)\.(\d+): ", line)
    assert match, line
    return match[1], int(match[2]), match[3], int(match[4])


def server_ports(lines: list[str]) -> tuple[set[int], set[int]]:
    """Return the server ports of packets to the internet, and of those from it."""
    found = [ends(line) for line in lines]
    return (
        {port for _, _, target, port in found if target in (WEB, WEB6)},
        {port for source, port, _, _ in found if source in (WEB, WEB6)},
    )


@pytest.fixture(scope="module")
def crossed():
    """Run flows of all classes at once, in IPv4 and IPv6, and return what was seen of them."""
    before = {host: instances(host) for host in ENDS}
    tuns = [("client1", name, INNER) for name in (*CLASSES, "mpq5")]
    with (
        watch(*tuns, ("vps1", "mt1", INNER)) as inner,
        watch(("isp5", "access", f"udp port {PORT}"), options="-v") as outer,
    ):
        running = {
            (kind, address, port): flow(kind, address, port, *arguments)
            for address in (WEB, WEB6)
            for kind, port, arguments in [
                ("calls", 5060, (46, CALLS / 100)),
                ("load", 443, (300_000,)),
                *(("load", port, (100_000,)) for port in (5001, 5500, 6000)),
            ]
        }
        results = {which: result(process) for which, process in running.items()}
        ports = outer_ports()
    after = {host: instances(host) for host in ENDS}
    return {"inner": inner, "outer": outer, "results": results, "ports": ports, "before": before, "after": after}


def test_all_flows_arrive_whole(crossed):
    for (kind, _, port), found in crossed["results"].items():
        if kind == "calls":
            assert (found["sent"], found["lost"]) == (CALLS, 0)
        else:
            assert found["back"] == (300_000 if port == 443 else 100_000)


@pytest.mark.parametrize("name", CLASSES)
def test_each_tun_of_one_network_carries_its_own_class_both_ways(crossed, name):
    """Three TUN devices of one /24: none takes the packets of another."""
    _, ports, _ = CLASSES[name]
    seen = crossed["inner"]["client1", name]
    used = ports - {10000}
    assert server_ports(seen) == (used, used)
    addresses = {end for line in seen for end in ends(line)[::2]} - {WEB, WEB6}
    assert addresses == set(CLASSES[name][0])


def test_nothing_took_the_tunnel_of_the_lan(crossed):
    assert crossed["inner"]["client1", "mpq5"] == []


def test_the_vps_sees_each_class_by_its_address_both_ways(crossed):
    owners = {address: name for name, (addresses, _, _) in CLASSES.items() for address in addresses}
    seen: dict[str, set[tuple[str, int]]] = {name: set() for name in CLASSES}
    for source, sport, target, dport in map(ends, crossed["inner"]["vps1", "mt1"]):
        if source in owners:
            seen[owners[source]].add(("up", dport))
        else:
            seen[owners[target]].add(("down", sport))
    for name, (_, ports, _) in CLASSES.items():
        assert seen[name] == {(way, port) for way in ("up", "down") for port in ports - {10000}}


def test_counters_of_both_ends_agree_with_the_captures(crossed):
    """Calls are packets of one size, so bytes tell their number also where the kernel gets several as one."""
    keys = ("tx_packets", "rx_packets")
    captured = dict.fromkeys(keys, 0)
    for line in crossed["inner"]["client1", "cr5"]:
        captured["tx_packets" if ends(line)[2] in (WEB, WEB6) else "rx_packets"] += int(line.split()[-1])
    assert captured == dict.fromkeys(keys, 2 * CALLS * SIZE_OF_CALL)
    was, now = crossed["before"]["client1"]["cr5"], crossed["after"]["client1"]["cr5"]
    assert {key: now[key] - was[key] for key in keys} == dict.fromkeys(keys, 2 * CALLS)
    for name in ("df5", "bk5"):
        was, now = crossed["before"]["client1"][name], crossed["after"]["client1"][name]
        assert min(now[key] - was[key] for key in keys) > 200
    was, now = crossed["before"]["client1"]["5"], crossed["after"]["client1"]["5"]
    assert [now[key] for key in keys] == [was[key] for key in keys]


def test_outer_packets_carry_the_dscp_of_their_class_both_ways(crossed):
    found: dict[int, dict[str, set[int]]] = {}
    tos = 0
    for line in crossed["outer"]["isp5", "access"]:  # two for a packet
        if match := re.search(r"\(tos (0x[0-9a-f]+),", line):
            tos = int(match[1], 16)
        elif match := re.search(r"\.(\d+) > [0-9.]+\.(\d+): UDP", line):
            sport, dport = int(match[1]), int(match[2])
            way, port = ("up", sport) if dport == PORT else ("down", dport)
            found.setdefault(port, {}).setdefault(way, set()).add(tos >> 2)
    assert found == {
        port: {"up": {CLASSES[name][2]}, "down": {CLASSES[name][2]}} for name, port in crossed["ports"].items()
    }


QUESTIONS = [
    ("udp", 5060, "ef", "cr5", "cr5.match[0]"),
    ("udp", 5060, "0", "bk5", "bk5.match[0]"),  # not marked, and its port is among those of bulk
    ("udp", 10000, "0", "cr5", "cr5.match[1]"),
    ("udp", 53, "ef", "df5", None),
    ("udp", 6000, "0", "bk5", "bk5.match[0]"),
]
_ASK = """
import socket, sys
for text in sys.argv[1:]:
    sport, address, dport, dscp = text.split(",")
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(*((41, 67) if ":" in address else (0, 1)), int(dscp) << 2)
        s.bind(("", int(sport)))
        s.sendto(b"x", (address, int(dport)))
"""


def test_explain_says_what_captures_show(tmp_path):
    script = tmp_path / "ask.py"
    script.write_text(_ASK)
    cases = [
        (source, target, 47000 + 10 * family + number, *question)
        for family, (source, target) in enumerate(zip(LAN, (WEB, WEB6), strict=True))
        for number, question in enumerate(QUESTIONS)
    ]
    packets = [
        f"{sport},{target},{dport},{46 if dscp == 'ef' else 0}" for _, target, sport, _, dport, dscp, *_ in cases
    ]
    with watch(*(("client1", name, INNER) for name in (*CLASSES, "mpq5"))) as seen:
        run("lan5", f"python3 {script} {' '.join(packets)}")
    for source, target, sport, proto, dport, dscp, name, match in cases:
        caught = [
            link for (_, link), lines in seen.items() for line in lines if ends(line)[1:] == (sport, target, dport)
        ]
        command = f"mpquic explain --src {source} --dst {target} --proto {proto} --sport {sport} --dport {dport}"
        said = json.loads(out("client1", f"{command} --dscp {dscp} --iif enp7s1 --json"))
        assert (caught, said["device"], said["class"], said["wan"]["interface"]) == ([name], name, name, "enp7s7"), said
        assert said["as_planned"], said["differences"]
        assert said["certain"], said["uncertain"]
        if match:
            assert said["match"] == match


def test_explain_names_what_is_not_as_planned():
    command = "mpquic explain --src 172.16.5.2 --dst 192.0.2.80 --proto udp --dport 10000 --iif enp7s1 --json"
    with unwatched("client1"):
        try:
            out("client1", "ip rule del priority 200 fwmark 0x110000/0xfff0000")
            found = run("client1", command, check=False)
            assert found.returncode == 2
            assert not json.loads(found.stdout)["as_planned"]
        finally:
            out("client1", "mpquic routing fix cr5")
    assert json.loads(out("client1", command))["as_planned"]


def test_the_vps_has_no_route_for_a_lan_that_is_hidden():
    """Behind NAT the VPS knows the addresses of the TUN devices alone."""
    assert "dev mpq5" in out("vps1", "ip route get 172.16.5.2")
    assert all("dev mt1" in out("vps1", f"ip route get {CLASSES['cr5'][0][k]} from {VPS_TUN[k]}") for k in (0, 1))
