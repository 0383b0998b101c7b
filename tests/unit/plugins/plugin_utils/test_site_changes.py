# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads of a change before it is made."""

from __future__ import annotations

import copy

import pytest
import yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._peer_pins import peer_pins
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes import site_changes
from class_sites import classified
from multipath_sites import multipath
from sites import reference
from verdicts import plan_of

PIN = "sha256:" + "ab" * 32


def present(part):
    """Return the files that a run of the plan leaves on a host."""
    found = {str(i["id"]): dict(i["config"]) for i in peer_pins(part["instances"], {"client1": [PIN]})}
    for config in found.values():
        if config["role"] == "client":
            config["tls_server_pin"] = [PIN]
    return yaml.safe_load(yaml.safe_dump(found))


def files(part):
    return copy.deepcopy({name: part.get(name, {}) for name in ("classes", "shaper")})


def texts(host, before, after):
    old = before[host]
    return [(c["kind"], c["text"]) for c in site_changes(after[host], present(old), files(old))]


def edited(index, **values):
    groups, hostvars = reference()
    hostvars["client1"]["mpquic_tunnels"][index] |= values
    return plan_of(groups, hostvars)


@pytest.mark.parametrize("site", [reference, classified, multipath])
def test_nothing_is_said_of_a_host_that_is_as_planned(site):
    plan = plan_of(*site())
    for host in ("client1", "vps1"):
        assert texts(host, plan, plan) == []


def test_a_tunnel_moves():
    before = plan_of(*reference())
    after = edited(1, wan="enp7s5")
    assert texts("client1", before, after) == [("wan", "tunnel 2: enp7s4 -> enp7s5")]
    assert texts("vps1", before, after) == []


def test_a_rate_is_told_at_both_ends():
    before, after = plan_of(*reference()), edited(1, rate="20mbit")
    for host in ("client1", "vps1"):
        assert texts(host, before, after) == [("rate", "tunnel 2: rate (default) -> 20mbit")]


def test_a_port_and_a_lan_are_no_remap():
    before, after = plan_of(*reference()), edited(1, port=46000, lan_cidrs=["192.168.2.0/24"])
    for host in ("client1", "vps1"):
        assert {kind for kind, _ in texts(host, before, after)} == {"other"}
    assert ("other", "tunnel 2: remote_port 45002 -> 46000") in texts("client1", before, after)


def test_tunnels_come_and_go():
    before = plan_of(*reference())
    groups, hostvars = reference()
    hostvars["client1"]["mpquic_tunnels"][1] |= {"id": 12}
    after = plan_of(groups, hostvars)
    assert texts("client1", before, after) == [
        ("removed", "tunnel 2: removed, it was on enp7s4 for enp6s21"),
        ("added", "tunnel 12: new, on enp7s4 for enp6s21"),
    ]
    assert ("added", "tunnel 12: new, on port 45012 for 172.16.12.0/30") in texts("vps1", before, after)


def test_a_class_is_another():
    groups, hostvars = classified()
    before = plan_of(groups, copy.deepcopy(hostvars))
    hostvars["client1"]["mpquic_class_tunnels"][0]["classes"][0]["match"] = [{"protocol": "udp", "dports": [1]}]
    assert texts("client1", before, plan_of(groups, hostvars)) == [("other", "classes: changes")]


def test_paths_move_come_and_go():
    groups, hostvars = multipath()
    before = plan_of(groups, copy.deepcopy(hostvars))
    paths = hostvars["client1"]["mpquic_multipath_tunnels"][0]["paths"]
    name = before["client1"]["instances"][-1]["id"]
    old = paths[0]["wan"]
    paths[0]["wan"] = "other0"
    assert texts("client1", before, plan_of(groups, hostvars)) == [
        ("wan", f"tunnel {name}: path {old}: {old} -> other0")
    ]
    paths.append({"wan": "more0"})
    assert ("other", f"tunnel {name}: path more0 new, on more0") in texts("client1", before, plan_of(groups, hostvars))
    paths[:] = paths[:1]
    assert {kind for kind, _ in texts("client1", before, plan_of(groups, hostvars))} == {"wan", "other"}
