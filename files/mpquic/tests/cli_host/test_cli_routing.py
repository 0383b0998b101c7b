# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic routing`` on real rules and routes."""

from __future__ import annotations

import subprocess
import time

import pytest
from mpquic.host import tun
from mpquic.host.errors import HostError

OWNER = tun._user_name(tun.default_owner())
pytestmark = pytest.mark.netns


def codes(done, tunnel="4"):
    return [problem["code"] for found in done.json["tunnels"] if found["id"] == tunnel for problem in found["problems"]]


def test_fix_builds_what_the_architecture_says(site):
    rules = site.ip("rule")
    assert "504:\tfrom 172.16.4.0/30 iif lan4 lookup 45004 proto 109" in rules
    table = site.ip("route show table 45004")
    assert "default dev mpq4 proto 109 scope link metric 10" in table
    assert "unreachable default proto 109 metric 4278198272" in table


def test_a_second_fix_moves_nothing(site, monitor):
    done = None

    def again():
        nonlocal done
        done = site.routing("fix")

    assert monitor.events(again) == []
    assert done.rc == 0
    assert done.json["changed"] is False


def test_text_is_for_people(site):
    done = site.mpquic("routing", "check", "--instances", str(site.instances))
    assert done.out.splitlines() == [
        "[OK]   4  lan4 172.16.4.0/30 -> table 45004 -> mpq4",
        "[OK]   5  lan5 172.16.5.0/30 -> table 45005 -> mpq5",
        "degraded=0",
    ]


DRIFT = {
    "TUN deleted": (["link del mpq4"], {"tun_missing", "route_missing"}),
    "TUN down": (["link set mpq4 down"], {"tun_down", "route_missing"}),
    "address lost": (["address flush dev mpq4"], {"tun_address", "route_missing"}),
    "address wrong": (
        ["address add 10.200.9.1/30 dev mpq4", "address del 10.200.4.1/30 dev mpq4"],
        {"tun_address"},
    ),
    "rule deleted": (["rule del priority 504"], {"rule_missing"}),
    "rule to another table": (
        ["rule del priority 504", "rule add priority 504 iif lan4 from 172.16.4.0/30 lookup 45005 protocol 109"],
        {"rule_wrong"},
    ),
    "rule for another interface": (
        ["rule del priority 504", "rule add priority 504 iif lan5 from 172.16.4.0/30 lookup 45004 protocol 109"],
        {"rule_wrong"},
    ),
    "second rule of ours": (["rule add priority 504 from 172.16.9.0/24 lookup 45004 protocol 109"], {"stale_rule"}),
    "route deleted": (["route del default dev mpq4 table 45004"], {"route_missing"}),
    "route into another tunnel": (
        ["route replace default dev mpq5 metric 10 table 45004 proto 109"],
        {"route_wrong"},
    ),
    "second route of ours": (["route add 198.51.100.0/24 dev mpq5 table 45004 proto 109"], {"stale_route"}),
    "standing route deleted": (["route del unreachable default table 45004"], {"standing_route_missing"}),
    "everything deleted": (
        ["link del mpq4", "rule del priority 504", "route flush table 45004"],
        {"tun_missing", "route_missing", "rule_missing", "standing_route_missing"},
    ),
}


@pytest.mark.parametrize("drift", DRIFT)
def test_drift_is_named_planned_and_repaired(site, drift):
    commands, expected = DRIFT[drift]
    healthy = site.snapshot()
    for command in commands:
        site.ip(command)
    broken = site.snapshot()
    found = site.routing("check")
    assert found.rc == 2
    assert set(codes(found)) == expected
    assert codes(found, "5") == []
    planned = site.routing("fix", "4", "--check")
    assert planned.rc == 2
    assert site.snapshot() == broken, "a check changed the host"
    fixed = site.routing("fix", "4")
    assert fixed.rc == 0, fixed
    assert {problem["code"] for problem in fixed.json["tunnels"][0]["repaired"]} == expected
    assert fixed.json["tunnels"][0]["actions"] == planned.json["tunnels"][0]["actions"]
    assert fixed.json["after"] == planned.json["after"], "the plan promised something else"
    assert site.snapshot() == healthy


def test_fix_of_one_does_not_touch_another(site, monitor):
    for command in ("link del mpq4", "rule del priority 505", "route del unreachable default table 45005"):
        site.ip(command)
    events = monitor.events(lambda: site.routing("fix", "4"))
    assert any("mpq4" in event for event in events)
    assert not [event for event in events if "505" in event or "5005" in event or "mpq5" in event]
    assert set(codes(site.routing("check"), "5")) == {"rule_missing", "standing_route_missing"}


def test_nothing_leaks_between_the_steps(site, monitor):
    for command in ("link del mpq4", "rule del priority 504", "route flush table 45004"):
        site.ip(command)
    events = monitor.events(lambda: site.routing("fix", "4"))

    def position(text):
        return next(place for place, event in enumerate(events) if text in event and "Deleted" not in event)

    assert position("unreachable default") < position("504:") < position("default dev mpq4")


def test_a_moved_lan_gets_its_new_rule_before_it_loses_the_old(site, monitor):
    site.veth("lan9")
    site.instance(4, lan="lan9")
    events = [event for event in monitor.events(lambda: site.routing("fix", "4")) if "504:" in event]
    assert len(events) == 2
    assert "iif lan9" in events[0]
    assert events[1].startswith("Deleted")
    assert "iif lan4" in events[1]


def test_a_changed_tun_gets_its_new_route_before_it_loses_the_old(site, monitor):
    text = (site.instances / "4.yaml").read_text()
    (site.instances / "4.yaml").write_text(text.replace("mpq4", "new4").replace("10.200.4.1", "10.200.44.1"))
    events = monitor.events(lambda: site.routing("fix"))
    routes = [event for event in events if "default dev" in event and "45004" in event]
    assert "default dev new4" in routes[0]
    assert routes[1].startswith("Deleted default dev mpq4")
    assert "mpq4" not in site.ip("link"), "the old TUN is still there"


def test_packets_of_the_lan_never_leave_by_the_wan(site):
    """With the reference site's own routing behind ours, count what reaches the other end of the WAN."""
    wan = f"{site.name}-w"
    lan = f"{site.name}-l"
    for name in (wan, lan):
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        site.ip(f"link set p-wan4 netns {wan}")
        site.ip(f"link set p-lan4 netns {lan}")
        for name, device, address in ((wan, "p-wan4", "100.64.4.1/24"), (lan, "p-lan4", "172.16.4.2/30")):
            subprocess.run(["ip", "-n", name, "address", "add", address, "dev", device], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", device, "up"], check=True)
        subprocess.run(["ip", "-n", lan, "route", "add", "default", "via", "172.16.4.1"], check=True)
        rules = "table ip t { chain c { type filter hook prerouting priority 0; ip saddr 172.16.4.0/30 counter; }; }"
        subprocess.run(["ip", "netns", "exec", wan, "nft", rules], check=True)
        subprocess.run(["ip", "netns", "exec", site.name, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
        ping = subprocess.Popen(
            ["ip", "netns", "exec", lan, "ping", "-q", "-i", "0.002", "198.51.100.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def leaked():
            listing = ["ip", "netns", "exec", wan, "nft", "list", "table", "ip", "t"]
            text = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
            return int(text.split("counter packets ")[1].split()[0])

        try:
            for damage in ("link del mpq4", "link set mpq4 down", "route del default dev mpq4 table 45004"):
                site.ip(damage)
                assert site.routing("fix", "4").rc == 0
            assert leaked() == 0
            # The measurement can see a leak: without our rule the site's own routing takes over.
            site.ip("rule del priority 504")
            deadline = time.monotonic() + 5
            while leaked() == 0 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert leaked() > 0
            assert site.routing("fix", "4").rc == 0
            settled = leaked()
            site.ip("link del mpq4")
            assert site.routing("fix", "4").rc == 0
            assert leaked() - settled <= 1, "more than the packet that was on its way"
        finally:
            ping.kill()
            ping.wait()
    finally:
        for name in (wan, lan):
            subprocess.run(["ip", "netns", "del", name], check=True)


FOREIGN = {
    "a rule before ours to a table with a default": ["rule add priority 90 from 172.16.4.0/24 lookup 104"],
    "a rule before ours that drops": ["rule add priority 90 from 172.16.4.0/30 prohibit"],
    "a foreign default in our table": ["route add default via 100.64.4.1 metric 5 table 45004"],
    "a longer foreign prefix in our table": ["route add 198.51.100.0/24 via 100.64.4.1 table 45004"],
}
HARMLESS = {
    "a rule with a destination": ["rule add priority 90 to 192.0.2.0/24 lookup 104"],
    "a rule with a mark": ["rule add priority 90 fwmark 1 lookup 104"],
    "a rule to a table without a default": ["rule add priority 90 lookup 4711"],
    "a rule of another LAN": ["rule add priority 90 iif lan5 lookup 104"],
    "main without its default": ["rule add priority 90 lookup main suppress_prefixlength 0"],
    "a worse foreign default": ["route add default via 100.64.4.1 metric 500 table 45004"],
    "the same route by hand": ["route append default dev mpq4 metric 10 table 45004"],
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_conflict_is_reported_and_left_alone(site, case):
    for command in FOREIGN[case]:
        site.ip(command)
    before = site.snapshot()
    assert set(codes(site.routing("check", "4"))) == {"foreign_conflict"}
    fixed = site.routing("fix")
    assert fixed.rc == 2
    assert set(codes(fixed)) == {"foreign_conflict"}
    assert site.snapshot() == before


@pytest.mark.parametrize("case", HARMLESS)
def test_what_does_not_take_the_traffic_is_no_conflict(site, case):
    for command in HARMLESS[case]:
        site.ip(command)
    before = site.snapshot()
    assert site.routing("check", "4").rc == 0
    assert site.routing("fix", "4").json["changed"] is False
    assert site.snapshot() == before


def test_a_repaired_route_goes_before_a_foreign_one_of_the_same_metric(site):
    site.ip("route del default dev mpq4 table 45004")
    site.ip("route add default via 100.64.4.1 metric 10 table 45004")
    assert site.routing("fix", "4").rc == 0
    ours, foreign, standing = site.ip("route show table 45004").splitlines()
    assert "dev mpq4" in ours
    assert "via 100.64.4.1" in foreign
    assert "unreachable" in standing


def test_a_foreign_rule_just_like_ours_stays_when_ours_goes(site):
    site.ip("rule add priority 504 iif lan4 from 172.16.4.0/30 lookup 45004")
    (site.instances / "4.yaml").unlink()
    assert site.routing("fix").rc == 0
    assert "504:\tfrom 172.16.4.0/30 iif lan4 lookup 45004\n" in site.ip("rule")
    assert "proto 109" not in site.ip("rule").split("505:")[0]


def test_fix_all_removes_what_belongs_to_no_instance(site):
    site.ip("tuntap add mode tun name tun9")
    site.ip("rule add priority 700 to 192.0.2.7 lookup 4711 protocol 109")
    (site.instances / "5.yaml").unlink()
    found = site.routing("check")
    assert found.rc == 2
    assert len(found.json["stale"]) == 5
    assert site.routing("check", "4").rc == 0
    assert site.routing("fix", "--check").rc == 2
    done = site.routing("fix")
    assert done.rc == 0
    left = site.ip("rule") + site.ip("route show table all") + site.ip("link")
    assert "505:" not in left
    assert "45005" not in left
    assert "mpq5" not in left
    assert "tun9" in left, "a TUN of somebody else is gone"
    assert "1005:" in left, "a foreign rule is gone"
    assert site.routing("check").rc == 0


def test_a_missing_lan_interface_is_reported_and_its_rule_waits_for_it(site):
    site.ip("link del lan4")
    done = site.routing("fix")
    assert done.rc == 2
    assert codes(done) == ["lan_interface_missing"]
    assert "504:" in site.ip("rule")


def test_a_failed_tun_leaves_the_guard_against_leaks_in_place(site, monkeypatch):
    def refuse(*_):
        raise HostError("no memory")

    for command in ("link del mpq4", "rule del priority 504", "route flush table 45004"):
        site.ip(command)
    monkeypatch.setattr("mpquic.host.tuntap.create", refuse)
    done = site.routing("fix")
    assert done.rc == 2
    assert set(codes(done)) == {"tun_missing", "route_missing", "fix_failed"}
    assert f"create TUN mpq4 for {OWNER}: no memory" in done.out
    assert "504:" in site.ip("rule")
    assert "unreachable default" in site.ip("route show table 45004")
    assert codes(done, "5") == []


def test_a_foreign_device_under_the_tuns_name_still_gets_no_leak(site):
    site.ip("link del mpq4")
    site.ip("rule del priority 504")
    site.veth("mpq4")
    done = site.routing("fix", "4")
    assert done.rc == 2
    assert set(codes(done)) == {"tun_foreign", "route_missing"}
    assert "504:" in site.ip("rule")
    assert "dev mpq4" not in site.ip("route show table 45004")
    assert "inet " not in site.ip("address show mpq4")


def test_the_server_routes_its_prefixes_into_its_tun(netns, tmp_path):
    assert netns.mpquic("identity", "ensure", "--dir", str(tmp_path), "--owner", "root").rc == 0
    netns.instance(4, role="server")
    assert netns.routing("fix").rc == 0
    assert "172.16.4.0/30 dev mpq4 proto 109 scope link" in netns.ip("route")
    assert "proto 109" not in netns.ip("rule")
    netns.ip("route del 172.16.4.0/30 dev mpq4")
    assert codes(netns.routing("check")) == ["route_missing"]
    assert netns.routing("fix").rc == 0
    netns.ip("link set mpq4 down")
    assert "unreachable 172.16.4.0/30 proto 109 metric 4278198272" in netns.ip("route")
    assert "172.16.4.0/30 dev" not in netns.ip("route")
    netns.ip("route del unreachable 172.16.4.0/30")
    assert netns.routing("fix", "all").rc == 0
    assert netns.routing("fix", "all").json["changed"] is False
    assert netns.routing("check").json["stale"] == []
    netns.ip("route add 172.16.4.0/31 dev lo")
    assert codes(netns.routing("check")) == ["foreign_conflict"]


@pytest.mark.parametrize(
    ("arguments", "rc", "message"),
    [
        (("check", "9"), 78, "9.yaml: no such file, expected the instance file of 9"),
        (("check", "../4"), 64, "target '../4': expected 'all' or an instance id"),
        (("wrong",), 64, "invalid choice"),
    ],
)
def test_refuses_a_wrong_target_in_one_line(site, arguments, rc, message):
    done = site.routing(*arguments)
    assert done.rc == rc
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_broken_file_stops_all_but_not_another_tunnel(site):
    (site.instances / "5.yaml").write_text("role: client\ntun_nam: mpq5\n")
    site.ip("rule del priority 504")
    before = site.snapshot()
    refused = site.routing("fix")
    assert refused.rc == 78
    assert "5.yaml: tun_nam: unknown key, did you mean tun_name?" in refused.err
    assert site.snapshot() == before
    assert site.routing("fix", "4").rc == 0


def test_two_files_that_want_the_same_are_refused(site):
    text = (site.instances / "5.yaml").read_text()
    (site.instances / "5.yaml").write_text(text.replace('"table": 45005', '"table": 45004'))
    before = site.snapshot()
    done = site.routing("fix")
    assert done.rc == 78
    assert "lan_routing.table" in done.err
    assert site.snapshot() == before


def test_a_missing_directory_purges_nothing(site):
    before = site.snapshot()
    done = site.mpquic("routing", "fix", "--instances", str(site.folder / "nowhere"))
    assert done.rc == 78
    assert "nowhere: no such directory" in done.err
    assert site.snapshot() == before
