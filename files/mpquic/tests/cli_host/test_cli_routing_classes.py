# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic routing`` for class tunnels: several TUNs with addresses of one network, chosen by mark."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from ipaddress import ip_address

import pytest
from host_netns import CLASSES, CLASSES_6, MARKS
from host_packets import attach, drain, echo_request, ends

pytestmark = pytest.mark.netns

#: Somebody on the internet.
FAR = {4: "198.51.100.1", 6: "2001:db8:ffff::1"}
#: The server's TUN.
PEER = {4: "10.200.10.254", 6: "fd6d:7071:10::ffff"}
PORT = 4242
EVERYTHING = 3  # ETH_P_ALL


def codes(done, tunnel):
    return {problem["code"] for found in done.json["tunnels"] if found["id"] == tunnel for problem in found["problems"]}


def inside(netns, work):
    """Run `work` in the namespace and return what it returns."""
    answer = netns.folder / "answer"

    def run():
        answer.write_text(json.dumps(work()))
        return 0

    child = netns.fork(run)
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(answer.read_text())


def send(version, *, mark=0, source=None):
    """Send a UDP packet to the internet; return the error's name, if any."""
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        try:
            if source:
                sock.bind((source, 0))
            sock.sendto(b"x" * 100, (FAR[version], PORT))
        except OSError as error:
            return errno.errorcode[error.errno]
    return None


class Wires:
    """The far ends of the TUNs, and an ear on the WAN."""

    def __init__(self, *tuns):
        self.tuns = {name: attach(name) for name in tuns}
        self.wan = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(EVERYTHING))
        self.wan.bind(("wan5", EVERYTHING))
        time.sleep(0.05)  # for what the kernel says when a carrier comes
        self.seen()

    def seen(self):
        """Return by wire the sources of packets to the internet and to the server."""
        found = {}
        wanted = {*FAR.values(), *PEER.values()}
        for name, descriptor in self.tuns.items():
            found[name] = [source for source, to in map(ends, drain(descriptor)) if to in wanted]
        found["wan5"] = [source for source, to in map(ends, self._leaked()) if to in wanted]
        return {name: sources for name, sources in found.items() if sources}

    def _leaked(self):
        packets = []
        while True:
            try:
                packets.append(self.wan.recv(2048))
            except BlockingIOError:
                return [packet for packet in packets if packet[0] >> 4 in {4, 6}]


def test_fix_builds_what_the_architecture_says(classes):
    for family, addresses, length in (("-4", CLASSES, 32), ("-6", CLASSES_6, 128)):
        rules = classes.ip(f"{family} rule")
        for place, (name, address) in enumerate(addresses.items()):
            table = 46016 + place
            assert f"{200 + place}:\tfrom all fwmark {MARKS[name]:#x}/0xfff0000 lookup {table} proto 109" in rules
            assert f"{200 + place}:\tfrom {address} iif lo lookup {table} proto 109" in rules
            routes = classes.ip(f"{family} route show table {table}")
            assert f"default dev {name} proto 109" in routes
            assert "metric 10 " in routes
            assert "unreachable default" in routes
            assert "metric 4278198272" in routes
            assert f" {address}/{length} " in classes.ip(f"address show {name}")
    assert "fe80" not in classes.ip("address show type tun")
    assert "tentative" not in classes.ip("address show type tun")


def test_a_second_fix_moves_nothing(classes, monitor):
    done = None

    def again():
        nonlocal done
        done = classes.routing("fix")

    assert monitor.events(again) == []
    assert done.rc == 0
    assert done.json["changed"] is False


@pytest.mark.parametrize("version", [4, 6])
def test_each_class_leaves_by_its_own_tun(classes, version):
    addresses = CLASSES if version == 4 else CLASSES_6

    def work():
        wires = Wires(*CLASSES)
        result = {}
        for name, address in addresses.items():
            for why, options in (("mark", {"mark": MARKS[name]}), ("source", {"source": address})):
                error = send(version, **options)
                result[f"{name} {why}"] = (error, wires.seen())
            # The bits beside ours are the operator's.
            send(version, mark=MARKS[name] | 0x1000_00FF)
            result[f"{name} other bits"] = (None, wires.seen())
        result["no mark"] = (send(version), list(wires.seen()))
        result["foreign mark"] = (send(version, mark=0x10), list(wires.seen()))
        return result

    found = inside(classes, work)
    for name, address in addresses.items():
        for why in ("mark", "source", "other bits"):
            assert found[f"{name} {why}"] == [None, {name: [address]}]
    for why in ("no mark", "foreign mark"):
        assert found[why] == [None, ["wan5"]], "the measurement does not see what leaves by the WAN"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("asker", [PEER, FAR], ids=["server", "internet"])
def test_the_host_answers_by_the_tun_it_was_asked_through(classes, version, asker):
    addresses = CLASSES if version == 4 else CLASSES_6

    def work():
        wires = Wires(*CLASSES)
        result = {}
        for name, address in addresses.items():
            os.write(wires.tuns[name], echo_request(asker[version], address))
            result[name] = wires.seen()
        return result

    assert inside(classes, work) == {name: {name: [address]} for name, address in addresses.items()}


@pytest.mark.parametrize("name", CLASSES_6)
def test_nobody_else_sends_with_the_address_of_a_tun(classes, name):
    """IPv4 drops such packets as martians, IPv6 takes them; without a mark they have no business in a tunnel."""
    assert f" dev {name} " in classes.ip(f"-6 route get {FAR[6]} from {CLASSES_6[name]}")
    assert " dev wan5 " in classes.ip(f"-6 route get {FAR[6]} from {CLASSES_6[name]} iif wan5")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("damage", ["link del cr5", "link set cr5 down", "route del default dev cr5 table 46016"])
def test_without_its_tun_a_class_is_unreachable(classes, version, damage):
    words = damage.replace("route", "-6 route") if version == 6 else damage
    classes.ip(words)
    others = [name for name in CLASSES if name != "cr5"]

    def work():
        wires = Wires(*others)
        errors = [send(version, mark=MARKS[name]) for name in CLASSES]
        return errors, wires.seen()

    errors, seen = inside(classes, work)
    addresses = CLASSES if version == 4 else CLASSES_6
    assert errors[0] in {"EHOSTUNREACH", "ENETUNREACH"}
    assert errors[1:] == [None, None]
    assert seen == {name: [addresses[name]] for name in others}
    assert classes.routing("fix", "cr5").rc == 0

    def repaired():
        wires = Wires("cr5")
        return send(version, mark=MARKS["cr5"]), wires.seen()

    assert inside(classes, repaired) == [None, {"cr5": [addresses["cr5"]]}]


BOTH = ("-4", "-6")
DRIFT = {
    "TUN deleted": (["link del cr5"], {"tun_missing", "route_missing"}),
    "TUN down": (["link set cr5 down"], {"tun_down", "tun_address", "route_missing"}),
    "IPv6 address lost": (["-6 address flush dev cr5"], {"tun_address"}),
    "IPv6 address wrong": (
        ["address add fd6d:7071:10::1:1/128 dev cr5 nodad", "address del fd6d:7071:10::1/128 dev cr5"],
        {"tun_address"},
    ),
    "another IPv6 address": (["address add fd00::1/64 dev cr5 nodad"], {"tun_address"}),
    "both rules of a family deleted": (["-6 rule del priority 200", "-6 rule del priority 200"], {"rule_missing"}),
    "mark rule to another table": (
        [
            "rule del fwmark 0x110000/0xfff0000 lookup 46016",
            "rule add priority 200 fwmark 0x110000/0xfff0000 lookup 46017 protocol 109",
        ],
        {"rule_wrong"},
    ),
    "another mask": (
        [
            "-6 rule del fwmark 0x110000/0xfff0000 lookup 46016",
            "-6 rule add priority 200 fwmark 0x110000/0xff0000 lookup 46016 protocol 109",
        ],
        {"rule_wrong"},
    ),
    "no rule for the own address": (["rule del from 10.200.10.1 iif lo lookup 46016"], {"rule_missing"}),
    "second rule of ours": (["rule add priority 200 from 10.200.10.2 lookup 46016 protocol 109"], {"stale_rule"}),
    "route deleted": (["-6 route del default dev cr5 table 46016"], {"route_missing"}),
    "route into another tunnel": (
        ["-6 route del default dev cr5 table 46016", "-6 route add default dev df5 metric 10 table 46016 proto 109"],
        {"route_wrong"},
    ),
    "route of another metric": (
        ["-6 route del default dev cr5 table 46016", "-6 route add default dev cr5 table 46016 proto 109"],
        {"route_wrong"},
    ),
    "standing route deleted": (
        ["-6 route del unreachable default metric 4278198272 table 46016"],
        {"standing_route_missing"},
    ),
    # The kernel does not compare the kind of an IPv6 route that it is to delete.
    "unreachable beside the route": (
        ["-6 route append unreachable default metric 10 table 46016 proto 109"],
        {"stale_route"},
    ),
    "everything deleted": (
        ["link del cr5"]
        + [
            f"{family} {words}"
            for family in BOTH
            for words in ("rule del priority 200", "rule del priority 200", "route flush table 46016")
        ],
        {"tun_missing", "route_missing", "rule_missing", "standing_route_missing"},
    ),
}


@pytest.mark.parametrize("drift", DRIFT)
def test_drift_is_named_planned_and_repaired(classes, drift):
    commands, expected = DRIFT[drift]
    healthy = classes.snapshot()
    for command in commands:
        classes.ip(command)
    broken = classes.snapshot()
    found = classes.routing("check")
    assert found.rc == 2
    assert codes(found, "cr5") == expected
    assert codes(found, "df5") == codes(found, "bk5") == set()
    planned = classes.routing("fix", "cr5", "--check")
    assert planned.rc == 2
    assert classes.snapshot() == broken, "a check changed the host"
    fixed = classes.routing("fix", "cr5")
    assert fixed.rc == 0, fixed
    assert {problem["code"] for problem in fixed.json["tunnels"][0]["repaired"]} == expected
    assert fixed.json["tunnels"][0]["actions"] == planned.json["tunnels"][0]["actions"]
    assert fixed.json["after"] == planned.json["after"], "the plan promised something else"
    assert classes.snapshot() == healthy


def test_fix_of_one_does_not_touch_another(classes, monitor):
    for family in BOTH:
        for priority in (200, 201):
            classes.ip(f"{family} rule del priority {priority}")
    events = monitor.events(lambda: classes.routing("fix", "cr5"))
    assert len(events) == 2
    assert all("200:" in event for event in events)
    assert codes(classes.routing("check"), "df5") == {"rule_missing"}


def test_a_class_that_is_gone_leaves_nothing(classes):
    (classes.instances / "bk5.yaml").unlink()
    found = classes.routing("check")
    assert found.rc == 2
    # Two rules and two routes of each family, and the TUN.
    assert len(found.json["stale"]) == 9
    assert classes.routing("fix").rc == 0
    left = classes.snapshot()
    assert not [word for word in ("202:", "46018", "bk5", "130000") if word in left]
    assert classes.routing("check").rc == 0


def test_a_class_without_ipv6_has_none(classes):
    classes.class_instance("cr5", tun_cidr6=None)
    done = classes.routing("fix")
    assert done.rc == 0, done
    assert "200:" not in classes.ip("-6 rule")
    assert classes.ip("-6 route show table 46016") == ""
    assert "inet6" not in classes.ip("address show cr5")
    assert "200:" in classes.ip("-4 rule")


def test_text_is_for_people(classes):
    done = classes.mpquic("routing", "check", "--instances", str(classes.instances))
    assert done.out.splitlines() == [
        "[OK]   bk5  mark 0x00130000 -> table 46018 -> bk5",
        "[OK]   cr5  mark 0x00110000 -> table 46016 -> cr5",
        "[OK]   df5  mark 0x00120000 -> table 46017 -> df5",
        "degraded=0",
    ]


FOREIGN = {
    "a rule before ours for everything": ["rule add priority 90 lookup main"],
    "the same in IPv6": ["-6 rule add priority 90 lookup main"],
    "a rule before ours that drops": ["rule add priority 90 prohibit"],
    "our mark elsewhere, before": ["rule add priority 90 fwmark 0x110000/0xfff0000 lookup 104"],
    "our mark elsewhere, after": ["rule add priority 900 fwmark 0x110000/0xfff0000 lookup 104"],
    "one of our bits": ["-6 rule add priority 90 fwmark 0x10000/0x10000 lookup 104"],
    "our mark and other bits": ["rule add priority 90 fwmark 0x110001/0xffffffff lookup 104"],
    "our mark that drops": ["rule add priority 90 fwmark 0x110000/0xff0000 blackhole"],
    "our address before": ["rule add priority 90 from 10.200.10.0/24 lookup main"],
    "a foreign default in our table": ["route add default via 100.64.5.1 metric 5 table 46016"],
    "an IPv6 default of our metric": ["-6 route append default via 2001:db8:5::1 metric 10 table 46016"],
    "a longer IPv6 prefix in our table": ["-6 route add 2001:db8:7::/48 via 2001:db8:5::1 table 46016"],
}
HARMLESS = {
    "a rule of a LAN": ["rule add priority 90 from 172.16.5.0/30 lookup main"],
    "a rule of an interface": ["rule add priority 90 iif wan5 lookup main"],
    "a mark of other bits": ["rule add priority 90 fwmark 0x1234/0xffff lookup main"],
    "another value of our bits": ["rule add priority 90 fwmark 0x80000/0xff0000 lookup main"],
    "our own table by hand": ["rule add priority 90 fwmark 0x110000/0xfff0000 lookup 46016"],
    "everything, after ours": ["rule add priority 900 lookup main"],
    "main without its default": ["-6 rule add priority 90 lookup main suppress_prefixlength 0"],
    "a worse IPv6 default": ["-6 route add default via 2001:db8:5::1 metric 500 table 46016"],
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_conflict_is_reported_and_left_alone(classes, case):
    for command in FOREIGN[case]:
        classes.ip(command)
    before = classes.snapshot()
    assert codes(classes.routing("check", "cr5"), "cr5") == {"foreign_conflict"}
    fixed = classes.routing("fix", "cr5")
    assert fixed.rc == 2
    assert codes(fixed, "cr5") == {"foreign_conflict"}
    assert classes.snapshot() == before


@pytest.mark.parametrize("case", HARMLESS)
def test_what_does_not_take_the_traffic_is_no_conflict(classes, case):
    for command in HARMLESS[case]:
        classes.ip(command)
    before = classes.snapshot()
    done = classes.routing("check", "cr5")
    assert done.rc == 0, done.out
    assert classes.routing("fix", "cr5").json["changed"] is False
    assert classes.snapshot() == before


def test_a_foreign_route_in_the_place_of_ours_is_named_and_kept(classes):
    """In IPv6 there cannot be two of them."""
    classes.ip("-6 route del default dev cr5 table 46016")
    classes.ip("-6 route add default dev cr5 metric 10 table 46016")
    before = classes.snapshot()
    planned = classes.routing("fix", "cr5", "--check")
    done = classes.routing("fix", "cr5")
    assert done.rc == 2
    assert codes(done, "cr5") == {"route_missing", "foreign_conflict"}
    assert done.json["after"] == planned.json["after"]
    assert classes.snapshot() == before


def test_a_moved_class_gets_its_new_route_before_it_loses_the_old(classes, monitor):
    """The IPv6 routes stand beside each other for a moment, and are no multipath route."""
    classes.class_instance("cr5", tun_name="new5")
    events = monitor.events(lambda: classes.routing("fix"))
    routes = [event for event in events if "default" in event and "46016" in event and "unreachable" not in event]
    assert not [event for event in events if "nexthop" in event]
    for family in (routes[:2], routes[2:]):
        assert len(family) == 2, routes
    order = ["Deleted" in event for event in routes]
    assert order == [False, False, True, True], routes
    assert classes.routing("check").rc == 0


def held(netns, name):
    """Hold a TUN as a daemon does."""

    def work():
        attach(name)
        time.sleep(60)
        return 0

    netns.background(work)
    while ",LOWER_UP" not in netns.ip(f"link show {name}"):
        time.sleep(0.01)


def test_a_path_too_small_for_ipv6_does_not_leak_it(classes):
    held(classes, "cr5")
    classes.ip("link set cr5 mtu 1200")
    done = classes.routing("fix", "cr5")
    assert done.rc == 2
    assert done.json["tunnels"][0]["actions"] == []
    assert [problem["message"] for problem in done.json["tunnels"][0]["problems"]] == [
        "TUN cr5 has MTU 1200, and IPv6 needs 1280"
    ]
    assert inside(classes, lambda: send(6, mark=MARKS["cr5"])) in {"EHOSTUNREACH", "ENETUNREACH"}
    # The path grew again, and the kernel has forgotten the address and the route.
    classes.ip("link set cr5 mtu 1300")
    assert codes(classes.routing("check"), "cr5") == {"tun_address", "route_missing"}
    assert classes.routing("fix", "cr5").rc == 0


def test_an_mtu_that_a_daemon_has_left_is_raised_for_ipv6(classes):
    classes.ip("link set cr5 mtu 1200")
    assert classes.routing("fix", "cr5").rc == 0
    assert "mtu 1300" in classes.ip("link show cr5")
    assert "unreachable" not in classes.ip(f"route get {FAR[6]} mark {MARKS['cr5']}")


def test_ipv6_switched_off_for_new_devices_is_on_for_this_one(netns):
    sysctl = "/proc/sys/net/ipv6/conf/default/disable_ipv6"
    assert inside(netns, lambda: os.write(os.open(sysctl, os.O_WRONLY), b"1")) == 1
    netns.veth("wan5", "100.64.5.2/24")
    netns.class_instance("cr5")
    netns.class_instance("df5", tun_cidr6=None)
    assert netns.routing("fix").rc == 0
    assert "fd6d:7071:10::1/128" in netns.ip("address show cr5")
    assert netns.routing("fix").json["changed"] is False


def test_level_1_has_ipv6_wherever_it_has_ipv4(netns):
    netns.veth("lan4", "172.16.4.1/30")
    netns.ip("address add fd00:4::1/64 dev lan4 nodad")
    netns.veth("wan4", "100.64.4.2/24")
    netns.instance(4, ipv6=True)
    assert netns.routing("fix").rc == 0
    assert "504:\tfrom fd00:4::/64 iif lan4 lookup 45004 proto 109" in netns.ip("-6 rule")
    routes = netns.ip("-6 route show table 45004")
    assert "default dev mpq4 proto 109 metric 10" in routes
    assert "unreachable default" in routes
    assert "fd6d:7071:0:4::1/126" in netns.ip("address show mpq4")
    assert "-> table 45004 -> mpq4" in netns.mpquic("routing", "check", "--instances", str(netns.instances)).out
    netns.ip("-6 rule add priority 90 from fd00:4::/56 lookup 104")
    netns.ip("-6 route add default dev wan4 table 104")
    assert codes(netns.routing("check"), "4") == {"foreign_conflict"}


def test_the_server_of_classes_routes_its_prefixes_and_its_network(netns, tmp_path):
    assert netns.mpquic("identity", "ensure", "--dir", str(tmp_path), "--owner", "root").rc == 0
    netns.instance(10, role="server", cidr="10.200.10.254/24", ipv6=True)
    text = json.loads((netns.instances / "10.yaml").read_text())
    text |= {"tun_name": "mt1", "tun_cidr6": "fd6d:7071:10::ffff/64", "multi_conn_enabled": True}
    (netns.instances / "10.yaml").write_text(json.dumps(text))
    assert netns.routing("fix").rc == 0
    routes = netns.ip("-6 route")
    assert "fd00:10::/64 dev mt1 proto 109 metric 1024" in routes
    assert "unreachable fd00:10::/64" in routes
    assert "fd6d:7071:10::/64 dev mt1 proto kernel" in routes
    assert "172.16.10.0/30 dev mt1 proto 109 scope link" in netns.ip("route")
    assert "proto 109" not in netns.ip("rule") + netns.ip("-6 rule")
    assert netns.routing("fix").json["changed"] is False
    healthy = netns.snapshot()
    netns.ip("link set mt1 down")
    assert "unreachable fd00:10::/64" in netns.ip("-6 route")
    assert "dev mt1" not in netns.ip("-6 route")
    assert netns.routing("fix").rc == 0
    assert netns.snapshot() == healthy


def test_addresses_are_what_they_seem():
    """The helper of this file: a packet says its ends."""
    for version in (4, 6):
        assert ends(echo_request(FAR[version], PEER[version])) == (FAR[version], PEER[version])
        assert ip_address(FAR[version]).version == version
