# SPDX-License-Identifier: GPL-3.0-or-later
"""Every tunnel uses its path to the full, whatever it carries."""

from __future__ import annotations

import json

import pytest
import yaml
from conftest import ROOT, TUNNELS, WEB, instances, out, run, wait_for

WANS = yaml.safe_load((ROOT / "lab" / "topology.yml").read_text())["wans"]
#: Bytes around a packet in a tunnel: IPv4 20, UDP 8, QUIC 30, context 1.
AROUND = 59


def inner(i: int) -> int:
    return WANS[f"wan{i}"].get("mtu", 1500) - AROUND


def test_the_lab_has_paths_of_several_sizes():
    assert len({inner(i) for i in TUNNELS}) == 3


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_both_ends_use_what_the_path_carries(host):
    wait_for(
        lambda: {i: instances(host)[str(i)]["mtu"] for i in TUNNELS} == {i: inner(i) for i in TUNNELS},
        seconds=60,
        what=f"the MTU of every TUN on {host} is that of its path",
    )
    links = {link["ifname"]: link["mtu"] for link in json.loads(out(host, "ip -j link"))}
    assert {i: links[f"mpq{i}"] for i in TUNNELS} == {i: inner(i) for i in TUNNELS}


@pytest.mark.parametrize("i", TUNNELS)
def test_full_packets_cross_and_larger_ones_are_answered(i):
    assert run(f"lan{i}", f"ping -c 3 -i 0.2 -W 2 -M do -s {inner(i) - 28} {WEB}", check=False).returncode == 0
    run(f"lan{i}", "ip route flush cache")
    said = run(f"lan{i}", f"ping -c 1 -W 2 -M do -s {inner(i) - 27} {WEB}", check=False).stdout
    assert f"mtu = {inner(i)}" in said
