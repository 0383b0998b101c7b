# SPDX-License-Identifier: GPL-3.0-or-later
"""Explanations of single packets, on a host that is as planned and on one that was tampered with."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address

import pytest
import yaml
from explain_site import PIN, UP, forget_flows, ip, nft, sysctl
from mpquic.cli import main
from mpquic.host.errors import UsageError
from mpquic.host.explain import path
from mpquic.host.explain.packet import Packet, parse

pytestmark = pytest.mark.netns

CALL = {"protocol": "udp", "sport": 4000, "dport": 5060, "dscp": "ef", "iif": "enp7s1"}


def call(source="172.16.5.2", target="198.51.100.7", **options):
    return parse(source, target, **{**CALL, **options})


def explain(site, packet=None):
    return path.explain(packet or call(), site.sources())


def codes(found):
    return {problem.code for problem in found.differences}


def steps(found):
    return {step.name: step.text for step in found.steps}


def test_a_call_takes_the_critical_tunnel_step_by_step(site):
    found = explain(site)
    told = steps(found)
    # nft prints the names of a set in any order.
    assert "masquerade: its source becomes the address of cr5" in told.pop("nat")
    assert told == {
        "packet": "udp 172.16.5.2:4000 -> 198.51.100.7:5060, dscp ef, in by enp7s1",
        "lan": 'classify: iifname "enp7s1" ip saddr 172.16.5.0/28 jump class_mt1',
        "match": 'class_mt1: udp dport { 5060, 10000-20000 } ip dscp ef counter goto mark_cr5 comment "cr5.match[0]"',
        "mark": "0x00110000, class cr5",
        "rule": "200: from all fwmark 0x110000/0xfff0000 lookup 46016",
        "route": "default dev cr5 table 46016 metric 10",
        "tunnel": "cr5, client, up for 5 s (connected)",
        "wan": "enp7s7 192.0.2.17:41300 -> 203.0.113.10:45010, outer dscp 0",
    }
    assert (found.verdict, found.device, found.match, found.differences) == ("tunnel", "cr5", "cr5.match[0]", [])
    assert found.result()["planned"] == {
        "why": "class cr5 by cr5.match[0]",
        "tun": "cr5",
        "instance": "cr5",
        "link": "mt1",
        "lan": {"interface": "enp7s1", "prefix": "172.16.5.0/28"},
        "class": "cr5",
        "match": "cr5.match[0]",
        "mark": 0x110000,
        "priority": 200,
        "table": 46016,
    }


@pytest.mark.parametrize(
    ("packet", "device", "match"),
    [
        (call(dscp="0"), "df5", "df5 default"),
        (call("fd00:5::2", "2001:db9::1"), "cr5", "cr5.match[0]"),
        (call(protocol="tcp", dport=5500, dscp="0"), "bk5", "bk5.match[0]"),
        (call("172.16.5.9", "198.51.100.200", protocol="icmp", sport=None, dport=None), "cr5", "cr5.match[1]"),
    ],
)
def test_each_class_is_told_by_its_match(site, packet, device, match):
    found = explain(site, packet)
    assert (found.device, found.match, found.differences) == (device, match, [])


def test_a_lan_of_one_tunnel_is_taken_by_its_source(site):
    found = explain(site, call("172.16.1.2", iif="enp7s2"))
    assert (found.verdict, found.device, found.differences) == ("tunnel", "mpq1", [])
    assert found.rule["priority"] == 501
    assert found.class_ is None


def test_what_no_tunnel_takes_goes_by_the_main_table(site):
    found = explain(site, call("192.0.2.99", iif="enp7s7"))
    assert (found.verdict, found.device, found.differences) == ("direct", "enp7s3", [])
    assert found.route["table"] == 254
    assert steps(found)["leaves"] == "by enp7s3, through no tunnel"


def test_what_the_host_sends_itself(site):
    found = explain(site, Packet(ip_address("10.200.10.5"), ip_address("198.51.100.7"), 1))
    assert (found.verdict, found.device, found.differences) == ("tunnel", "df5", [])
    assert found.rule["text"] == "201: from 10.200.10.5/32 lookup 46017"
    direct = explain(site, Packet(ip_address("192.0.3.17"), ip_address("198.51.100.7"), 1))
    assert (direct.verdict, direct.device, direct.differences) == ("direct", "enp7s3", [])


def test_what_ends_on_the_host(site):
    found = explain(site, call(target="192.0.2.17"))
    assert (found.verdict, found.device, found.differences) == ("local", "lo", [])


def test_a_source_from_elsewhere_needs_its_interface(site):
    with pytest.raises(UsageError, match="such as --iif enp7s1"):
        explain(site, call(iif=None))
    with pytest.raises(UsageError, match="no such interface"):
        explain(site, call(iif="enp9s9"))


def test_what_is_not_given_is_told_and_not_guessed(site):
    found = explain(site, parse("172.16.5.2", "198.51.100.7", iif="enp7s1"))
    assert (found.device, found.match, found.differences) == ("df5", "df5 default", [])
    assert sum("asks for the protocol, which was not given" in note for note in found.notes) == 2


TAMPERED = {
    "rule deleted": (
        lambda: ip("rule del priority 200 fwmark 0x110000/0xfff0000"),
        {"rule_differs", "device_differs", "dropped"},
    ),
    "rule to another table": (
        lambda: (
            ip("rule del priority 200 fwmark 0x110000/0xfff0000"),
            ip("rule add priority 200 fwmark 0x110000/0xfff0000 lookup 46018 protocol 109"),
        ),
        {"rule_differs", "device_differs", "dropped"},
    ),
    "a foreign rule before ours": (
        lambda: (
            ip("rule add priority 90 from 172.16.5.0/28 lookup 77"),
            ip("route add default dev bk5 table 77"),
        ),
        {"rule_differs", "device_differs", "dropped"},
    ),
    "a foreign rule for a port": (
        lambda: (
            ip("rule add priority 90 ipproto udp dport 5060 lookup 77"),
            ip("route add default dev bk5 table 77"),
        ),
        {"rule_differs", "device_differs", "dropped"},
    ),
    "route into another tunnel": (
        lambda: ip("route replace default dev df5 metric 10 table 46016 proto 109"),
        {"device_differs", "dropped"},
    ),
    "route deleted": (lambda: ip("route del default dev cr5 table 46016"), {"unreachable"}),
    "TUN down": (lambda: ip("link set cr5 down"), {"unreachable", "tun_down"}),
    "table gone": (
        lambda: nft("delete table inet mpquic"),
        {"table_missing", "class_differs", "rule_differs", "device_differs"},
    ),
    "classifier flushed": (
        lambda: nft("flush chain inet mpquic classify"),
        {"class_differs", "rule_differs", "device_differs", "dropped"},
    ),
    "another mark": (
        lambda: nft(
            "flush chain inet mpquic mark_cr5\nadd rule inet mpquic mark_cr5 meta mark set meta mark or 0x00120000"
        ),
        {"class_differs", "rule_differs", "device_differs"},
    ),
    "a mark of no class": (
        lambda: nft("flush chain inet mpquic mark_cr5\nadd rule inet mpquic mark_cr5 meta mark set 0x00770000"),
        {"class_differs", "rule_differs", "device_differs", "dropped"},
    ),
    "another match": (
        lambda: nft("insert rule inet mpquic class_mt1 ip daddr 198.51.100.0/24 goto mark_bk5"),
        {"class_differs", "rule_differs", "device_differs"},
    ),
    "an early drop": (lambda: nft("insert rule inet mpquic class_mt1 udp dport 5060 drop"), {"dropped"}),
    "forwarding off": (lambda: sysctl("ipv4/conf/enp7s1/forwarding", 0), {"not_forwarding"}),
    "WAN down": (lambda: ip("link set enp7s7 down"), {"wan_down"}),
    "strict reverse path": (
        lambda: (
            sysctl("ipv4/conf/enp7s1/rp_filter", 1),
            ip("address del 172.16.5.1/28 dev enp7s1"),
        ),
        {"reverse_path"},
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_tampered_with_is_flagged(site, name):
    tamper, expected = TAMPERED[name]
    assert codes(explain(site)) == set()
    tamper()
    found = explain(site)
    assert codes(found) == expected, found.result()
    # And it is still what the kernel does.
    forget_flows()
    left = site.send(call(), b"<tampered>")
    assert left == (found.device if found.verdict in {"tunnel", "direct"} else None)
    assert found.uncertain == []


def test_what_is_not_understood_is_said(site):
    nft("insert rule inet mpquic class_mt1 meta length > 1000 goto mark_bk5")
    found = explain(site)
    assert found.result()["certain"] is False
    assert codes(found) == {"not_understood"}
    assert found.uncertain == [
        "not understood: meta length, in class_mt1: meta length > 1000 goto mark_bk5",
    ]


def test_a_doubt_that_another_match_settles_is_none(site):
    nft("insert rule inet mpquic class_mt1 meta length > 1000 tcp dport 443 goto mark_bk5")
    assert explain(site).uncertain == []


def test_a_flow_keeps_its_class_and_that_is_told(site):
    forget_flows()
    assert site.send(call(), b"<first>") == "cr5"
    nft("insert rule inet mpquic class_mt1 ct mark 0 goto mark_bk5")
    found = explain(site)
    assert found.device == "bk5"
    assert found.flow == {"mark": 0x110000, "class": "cr5", "direction": "original", "device": "cr5"}
    assert site.send(call(), b"<second>") == "cr5"
    assert any("unlike a new one" in note for note in found.notes)


def test_the_answer_of_a_flow_goes_on_to_whom_its_translation_says(site):
    forget_flows()
    assert site.send(call(), b"<out>") == "cr5"
    answer = parse("198.51.100.7", "10.200.10.1", protocol="udp", sport=5060, dport=4000, iif="cr5")
    found = explain(site, answer)
    assert found.verdict == "local"
    assert found.flow == {"mark": 0x110000, "class": "cr5", "direction": "reply", "device": "enp7s1"}
    assert site.send(answer, b"<back>", "172.16.5.2") == "enp7s1"


def test_a_tunnel_that_is_down_is_flagged(site):
    del site.told["cr5"]
    found = explain(site)
    assert codes(found) == {"tunnel_down"}
    assert found.tunnel["state"] == "down"
    site.told["cr5"] = {**UP, "state": "connecting", "reason": "no answer"}
    assert "connecting" in explain(site).differences[0].message


def test_a_class_without_its_instance_is_flagged(site):
    (site.instances / "cr5.yaml").unlink()
    assert codes(explain(site)) == {"instance_missing"}


def test_foreign_chains_are_named(site):
    nft("table ip operator { chain pre { type filter hook forward priority 0; policy accept; }; }")
    assert any("ip operator pre" in note for note in explain(site).notes)
    assert not any("operator" in note for note in explain(site, call("fd00:5::2", "2001:db9::1")).notes)


SHAPER = """
links:
  - name: mt1
    on: if:enp7s7
    rate: 20000000
    inner: 0x100
    default: true
    classes:
      - {name: cr5, minor: 0x101, priority: 0, share: 30}
      - {name: df5, minor: 0x102, priority: 1, share: 30}
      - {name: bk5, minor: 0x103, priority: 2, share: 30}
      - {name: rest, minor: 0x1ff, priority: 7, share: 5}
"""


def shaped(site):
    (site.folder / "shaper.yaml").write_text(SHAPER)
    loaded = yaml.safe_load((site.instances / "cr5.yaml").read_text())
    (site.instances / "cr5.yaml").write_text(yaml.safe_dump({**loaded, "outer_dscp": 46}))


def tc(command):
    subprocess.run(["tc", *command.split()], check=True)


def test_the_shaper_s_class_is_that_of_the_outer_packet(site):
    shaped(site)
    assert codes(explain(site)) == {"shaper_missing"}
    tc("qdisc add dev enp7s7 root handle 6d71: htb default 1ff")
    tc("class add dev enp7s7 parent 6d71: classid 6d71:101 htb rate 1mbit")
    found = explain(site)
    assert codes(found) == set()
    assert found.wan["tc_name"] == "cr5"
    assert steps(found)["wan"].endswith("outer dscp ef, shaper class 6d71:101 (cr5)")
    nft("insert rule inet mpquic shape udp dport 45010 accept")
    assert "shaper_differs" in codes(explain(site))


@pytest.fixture
def vps(bare):
    assert main(["identity", "ensure", "--dir", str(bare.folder), "--owner", "root"]) == 0
    bare.tun("ens3", "203.0.113.10/24")
    ip("route add default via 203.0.113.1 dev ens3")
    nft("table inet mpquic { chain clamp { type filter hook forward priority mangle; policy accept; }; }")
    bare.tun("mt1", "10.200.10.254/24", "fd6d:7071:10::ffff/64")
    ip("route add 172.16.5.0/28 dev mt1 proto 109")
    ip("route add unreachable 172.16.5.0/28 metric 4278198272 proto 109")
    bare.instance(
        "mt1",
        role="server",
        multi_conn_enabled=True,
        bind_ip="203.0.113.10",
        remote_port=45010,
        tun_name="mt1",
        tun_cidr="10.200.10.254/24",
        tun_cidr6="fd6d:7071:10::ffff/64",
        tls_cert_file=str(bare.folder / "cert.pem"),
        tls_key_file=str(bare.folder / "key.pem"),
        peers=[
            {"name": "client1.df5", "pins": [PIN], "allowed": ["10.200.10.5/32"], "shared": ["172.16.5.0/28"]},
            {
                "name": "client1.cr5",
                "pins": [PIN],
                "allowed": ["10.200.10.1/32", "fd6d:7071:10::1/128"],
                "shared": ["172.16.5.0/28"],
                "outer_dscp": 46,
            },
        ],
        lan_routing={"cidrs": ["172.16.5.0/28"]},
    )
    bare.told["mt1"] = {
        **UP,
        "local": "203.0.113.10:45010",
        "remote": None,
        "peers": [
            {"name": "client1.df5", "state": "waiting", "reason": "never connected", "remote": None},
            {"name": "client1.cr5", "state": "up", "reason": "connected", "remote": "203.0.113.77:41300"},
        ],
    }
    return bare


def test_a_server_tells_the_peer(vps):
    packet = parse("198.51.100.7", "10.200.10.1", protocol="udp", sport=53, dport=4000, iif="ens3")
    found = explain(vps, packet)
    assert (found.verdict, found.device, found.differences) == ("tunnel", "mt1", [])
    assert found.tunnel["peer"]["name"] == "client1.cr5"
    assert steps(found)["wan"] == "ens3 203.0.113.10:45010 -> 203.0.113.77:41300, outer dscp ef"
    six = explain(vps, Packet(ip_address("fd6d:7071:10::ffff"), ip_address("fd6d:7071:10::1"), 58))
    assert (six.verdict, six.tunnel["peer"]["owns"], six.differences) == ("tunnel", "fd6d:7071:10::1/128", [])


def test_a_server_tells_who_shares_a_prefix_and_who_is_up(vps):
    found = explain(vps, parse("198.51.100.7", "172.16.5.2", protocol="udp", sport=53, dport=4000, iif="ens3"))
    assert found.tunnel["peer"]["shared"] == ["client1.df5", "client1.cr5"]
    assert found.tunnel["peer"]["name"] == "client1.cr5"
    assert found.differences == []
    vps.told["mt1"]["peers"][1]["state"] = "waiting"
    assert codes(explain(vps, found.packet)) == {"peer_down"}


def test_an_address_without_an_owner_is_dropped(vps):
    found = explain(vps, parse("198.51.100.7", "10.200.10.77", iif="ens3"))
    assert (found.verdict, codes(found)) == ("dropped", {"no_peer"})


def test_a_lan_that_a_server_lost_is_flagged(vps):
    ip("route del 172.16.5.0/28 dev mt1 proto 109")
    found = explain(vps, parse("198.51.100.7", "172.16.5.2", iif="ens3"))
    assert (found.verdict, codes(found)) == ("unreachable", {"unreachable"})
