# SPDX-License-Identifier: GPL-3.0-or-later
"""What mpquic.tunnel.tunnel_info explains, with the real command."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.netns

PACKET = {"src": "172.16.4.2", "dst": "198.51.100.7", "proto": "tcp", "dport": 443, "iif": "lan4"}


@pytest.fixture
def info(run, netns):
    """A client whose tunnel 4 has everything but a daemon."""
    netns.instance(4)
    netns.veth("lan4", "172.16.4.1/30")
    netns.veth("wan4", "100.64.4.2/24")
    netns.ip("route add default via 100.64.4.1")
    assert netns.routing("fix").rc == 0
    forwarding = "echo 1 > /proc/sys/net/ipv4/ip_forward"
    subprocess.run(["ip", "netns", "exec", netns.name, "sh", "-c", forwarding], check=True)

    def call(**options):
        return run("tunnel_info", instances_dir=str(netns.instances), **options)

    return call


def codes(explained):
    return {problem["code"] for problem in explained["differences"]}


def test_explains_one_packet_or_several(info, netns):
    before = netns.snapshot()
    found = info(explain=PACKET)
    assert (found["changed"], len(found["explained"])) == (False, 1)
    way = found["explained"][0]
    assert (way["verdict"], way["device"], way["rule"]["priority"]) == ("tunnel", "mpq4", 504)
    # There is no daemon.
    assert (way["as_planned"], codes(way)) == (False, {"tunnel_down"})
    several = info(explain=[PACKET, {**PACKET, "src": "100.64.4.9", "iif": "wan4"}], check=True)["explained"]
    assert [way["verdict"] for way in several] == ["tunnel", "direct"]
    assert netns.snapshot() == before


def test_says_what_differs_and_does_not_fail(info, netns):
    netns.ip("rule del priority 504")
    found = info(explain=[PACKET])
    assert "failed" not in found
    assert codes(found["explained"][0]) >= {"rule_differs", "device_differs"}


def test_nothing_is_explained_unless_asked(info):
    assert "explained" not in info()
    assert info(explain=[])["explained"] == []


@pytest.mark.parametrize(
    ("explain", "message"),
    [
        ("172.16.4.2", "explain: found '172.16.4.2', expected a mapping"),
        ([PACKET, 5], "explain[1]: found 5, expected a mapping"),
        ({"src": "172.16.4.2"}, "explain: missing required arguments: dst"),
        ([{**PACKET, "port": 5}], "explain[0]: port"),
        ({**PACKET, "dport": "https"}, "explain: argument 'dport'"),
        ({**PACKET, "dst": "--json"}, "dst --json: expected an IPv4 or IPv6 address"),
    ],
)
def test_what_is_no_packet_is_refused(info, explain, message):
    found = info(explain=explain)
    assert found["failed"] is True
    assert message in found["msg"]
