# SPDX-License-Identifier: GPL-3.0-or-later
"""Explanations of packets that enter a tunnel with several WANs, at both ends."""

from __future__ import annotations

from contextlib import closing

import pytest
from explain_site import PIN, UP, Site, lead, namespace, nft
from mpquic.host.explain import path
from mpquic.host.explain.packet import parse
from nft_table import render

pytestmark = pytest.mark.netns

REMOTE = "203.0.113.10:45017"
PATHS = {"wan1": "100.64.1.10:4001", "wan2": "100.64.2.10:4002"}

NFT = {
    "tuns": ["mp1"],
    "masquerade": [],
    "guards": [{"interface": "lan0", "cidrs": ["172.16.6.0/30"], "tuns": ["mp1"]}],
}


def told(**states):
    """Return what a daemon says of its paths."""
    return [
        {"name": name, "state": states.get(name, "up"), "bind": f"if:{name}", "local": local, "remote": REMOTE}
        for name, local in PATHS.items()
    ]


@pytest.fixture
def site(tmp_path):
    """Make a client that leads a LAN into a tunnel with two WANs, of which only the first is there."""
    with namespace(), closing(Site(tmp_path)) as host:
        nft(render(NFT))
        host.tun("lan0", "172.16.6.1/30")
        host.tun("wan1", "100.64.1.10/24")
        host.tun("mp1", "10.200.17.1/30")
        host.instance(
            "mp1",
            role="client",
            multipath_enabled=True,
            multipath_paths=[
                {"name": name, "bind_ip": f"if:{name}", "remote_addr": "203.0.113.10", "remote_port": 45017}
                for name in PATHS
            ],
            tun_name="mp1",
            tun_cidr="10.200.17.1/30",
            tls_server_pin=PIN,
            lan_routing={"cidrs": ["172.16.6.0/30"], "interface": "lan0", "table": 47001, "priority": 401},
        )
        lead("172.16.6.0/30", "lan0", "mp1", 47001, 401)
        yield host


def explain(site):
    packet = parse("172.16.6.2", "198.51.100.7", protocol="udp", sport=4000, dport=5060, iif="lan0")
    return path.explain(packet, site.sources())


def test_every_path_is_told_and_a_missing_wan_is_no_fault(site):
    site.told["mp1"] = {**UP, "paths": told(wan2="down")}
    found = explain(site)
    assert (found.verdict, found.device, found.differences) == ("tunnel", "mp1", [])
    assert [step.text for step in found.steps if step.name == "path"] == [
        f"wan1, up if:wan1 100.64.1.10:4001 -> {REMOTE}",
        f"wan2, down if:wan2 100.64.2.10:4002 -> {REMOTE}",
    ]
    assert found.result()["wan"] is None
    assert [entry["state"] for entry in found.result()["tunnel"]["paths"]] == ["up", "down"]
    assert "WAN wan2 of tunnel mp1 does not exist" in found.notes


def test_a_daemon_that_does_not_answer_leaves_what_the_file_says(site):
    del site.told["mp1"]
    found = explain(site)
    assert [problem.code for problem in found.differences] == ["tunnel_down"]
    assert [(entry["name"], entry["state"]) for entry in found.result()["tunnel"]["paths"]] == [
        ("wan1", "unknown"),
        ("wan2", "unknown"),
    ]
