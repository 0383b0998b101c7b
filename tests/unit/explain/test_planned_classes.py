# SPDX-License-Identifier: GPL-3.0-or-later
"""A site with classes from its inventory to the packet: planned, put on a host, explained, and what the kernel does."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._peer_pins import peer_pins
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan

# The daemon's tests own the host; a second copy of it would only drift.
sys.path.insert(0, str(Path(__file__).parents[3] / "files" / "mpquic" / "tests" / "explain"))

from explain_site import UP, Site, forget_flows, ip, namespace, nft
from mpquic.cli import main
from mpquic.host.explain import path
from mpquic.host.explain.packet import parse
from nft_table import render

pytestmark = [pytest.mark.netns, pytest.mark.slow]

PIN = "sha256:" + "ab" * 32
FILES = {"tls_cert_file": "cert.pem", "tls_key_file": "key.pem"}
CLIENT = {
    "mpquic_tunnels": [
        {"id": 5, "wan": "enp7s7", "lan": "enp7s1", "lan_cidrs": ["172.16.5.0/30", "fd00:5::/64"]},
        {"id": 6, "wan": "enp7s8", "lan": "enp7s2"},
    ],
    "mpquic_class_tunnels": [
        {
            "id": 1,
            "wan": "enp7s7",
            "classes": [
                {
                    "name": "cr",
                    "outer_dscp": "ef",
                    "match": [
                        {"protocol": "udp", "dports": [5060, "10000-20000"], "dscp": ["ef", "cs5"]},
                        {"src": ["172.16.5.2/32"], "dst": ["192.0.2.0/24", "2001:db8::/32"]},
                    ],
                },
                {"name": "df", "default": True},
                {"name": "bk", "outer_dscp": "cs1", "match": [{"protocol": "tcp", "dports": ["5001-6000"]}]},
            ],
        }
    ],
    "mpquic_wans": {"enp7s7": {"rate_up": "20mbit", "rate_down": "20mbit"}},
}


def planned():
    groups = {"mpquic_clients": ["client1"], "mpquic_vps": ["vps1"]}
    plan = site_plan(groups, {"client1": CLIENT, "vps1": {"mpquic_public_address": "203.0.113.10"}})
    assert plan["errors"] == []
    return plan["hosts"]


@contextlib.contextmanager
def host(folder, name, devices):
    """Put one host of the plan into a namespace, as the roles do and as the commands on it repair it."""
    part = planned()[name]
    with namespace(), contextlib.closing(Site(folder)) as site:
        for device, addresses in devices.items():
            site.tun(device, *addresses)
        nft(render(part["nft"]))
        for key in ("classes", "shaper"):
            if key in part:
                (folder / f"{key}.yaml").write_text(yaml.safe_dump(part[key]))
        assert main(["identity", "ensure", "--dir", str(folder), "--owner", "root"]) == 0
        for instance in peer_pins(part["instances"], {"client1": [PIN], "client1.df5": [PIN]}):
            config = {"tls_server_pin": [PIN], **instance["config"]} if name == "client1" else instance["config"]
            config |= {key: str(folder / file) for key, file in FILES.items() if key in config}
            site.instance(str(instance["id"]), **config)
        assert main(["routing", "fix", "--instances", str(site.instances)]) == 0
        for instance in part["instances"]:
            site.attach(instance["config"]["tun_name"])
        yield site


@pytest.fixture
def client(tmp_path):
    devices = {
        "enp7s1": ["172.16.5.1/30", "fd00:5::1/64"],
        "enp7s2": ["172.16.6.1/30"],
        "enp7s7": ["198.51.100.7/24"],
        "enp7s8": ["198.51.101.8/24"],
    }
    with host(tmp_path, "client1", devices) as site:
        ip("route add default via 198.51.101.1 dev enp7s8")
        assert main(["shaper", "fix", "--file", str(tmp_path / "shaper.yaml")]) == 0
        yield site


def packet(source="172.16.5.2", target="203.0.113.99", **options):
    return parse(source, target, **{"protocol": "udp", "sport": 4000, "dport": 5060, "iif": "enp7s1", **options})


WAYS = [
    (packet(dscp="ef"), "cr5", "cr5.match[0]", "6d71:101"),
    (packet("fd00:5::2", "2620:fe::9", dscp="cs5", dport=15000), "cr5", "cr5.match[0]", "6d71:101"),
    (packet("172.16.5.2", "192.0.2.9", protocol="icmp", sport=None, dport=None), "cr5", "cr5.match[1]", "6d71:101"),
    (packet("172.16.5.1", "192.0.2.9", iif=None, protocol="tcp"), "enp7s8", None, None),
    (packet(), "df5", "df5 default", "6d71:102"),
    (packet("fd00:5::2", "2620:fe::9", protocol="sctp"), "df5", "df5 default", "6d71:102"),
    (packet(protocol="tcp", dport=5500), "bk5", "bk5.match[0]", "6d71:103"),
    (packet("172.16.6.2", iif="enp7s2", dscp="ef"), "mpq6", None, None),
]


def test_every_class_is_explained_as_planned_and_as_it_is(client):
    sources = client.sources()
    for number, (question, device, match, shaped) in enumerate(WAYS):
        found = path.explain(question, sources)
        assert (found.differences, found.uncertain) == ([], []), found.result()
        assert (found.device, found.match) == (device, match)
        assert (found.wan or {}).get("tc_class") == shaped
        forget_flows(question.version)
        assert client.send(question, f"<way {number}>".encode()) == device


def test_what_drifts_from_the_plan_is_flagged(client):
    ip("rule del priority 200 fwmark 0x110000/0xfff0000")
    subprocess.run(["tc", "qdisc", "del", "dev", "enp7s7", "root"], check=True)
    sources = client.sources()
    assert {problem.code for problem in path.explain(packet(dscp="ef"), sources).differences} >= {"rule_differs"}
    assert [problem.code for problem in path.explain(packet(), sources).differences] == ["shaper_missing"]


def test_the_server_answers_into_the_same_classes(tmp_path):
    with host(tmp_path, "vps1", {"ens3": ["203.0.113.10/24"]}) as site:
        ip("route add default via 203.0.113.1 dev ens3")
        assert main(["shaper", "fix", "--file", str(tmp_path / "shaper.yaml")]) == 0
        names = [peer["name"] for peer in yaml.safe_load((site.instances / "mt1.yaml").read_text())["peers"]]
        peers = [{"name": name, "state": "up", "remote": "203.0.113.77:41300"} for name in names]
        site.told["mt1"] = {**UP, "local": "203.0.113.10:45010", "remote": None, "peers": peers}
        sources = site.sources()
        for address, name, shaped in (("10.200.10.1", "cr5", "6d71:101"), ("10.200.10.9", "bk5", "6d71:103")):
            found = path.explain(packet("192.0.2.9", address, iif="ens3"), sources)
            assert (found.verdict, found.device, found.differences) == ("tunnel", "mt1", []), found.result()
            assert found.tunnel["peer"]["name"] == f"client1.{name}"
            assert found.wan["tc_class"] == shaped
        out = path.explain(packet("10.200.10.1", "192.0.2.9", iif="mt1"), sources)
        assert (out.verdict, out.device, out.differences) == ("direct", "ens3", [])
        assert any(step.name == "nat" for step in out.steps)
