# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads of a change before it is made."""

from __future__ import annotations

import copy

import pytest
import yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._peer_pins import peer_pins
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes import site_changes
from class_sites import MARKED, WAN5, classified, link
from multipath_sites import DATAPLANE, multipath, tunnel
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
    return copy.deepcopy({name: part.get(name, {}) for name in ("classes", "shaper", "wans")})


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
        assert texts(host, before, after) == [("rate", "tunnel 2: rate none -> 20mbit")]


def test_a_port_and_a_lan_are_no_remap():
    before, after = plan_of(*reference()), edited(1, port=46000, lan_cidrs=["192.168.2.0/24"])
    for host in ("client1", "vps1"):
        assert {kind for kind, _ in texts(host, before, after)} == {"other"}
    assert ("other", "tunnel 2: port 45002 -> 46000") in texts("client1", before, after)


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
    assert texts("client1", before, plan_of(groups, hostvars)) == [
        ("other", "class cr5: takes protocol udp, dports 5060 10000-20000, dscp 46 -> protocol udp, dports 1"),
    ]


def test_a_lan_is_told_by_what_goes_and_comes():
    before, after = plan_of(*reference()), edited(1, lan_cidrs=["192.168.2.0/24"], table=999)
    assert texts("client1", before, after) == [
        ("other", "tunnel 2: lan_cidrs -172.16.2.0/30 +192.168.2.0/24"),
        ("other", "tunnel 2: table 45002 -> 999"),
    ]
    assert texts("vps1", before, after) == [
        ("other", "tunnel 2: client client1: allowed -172.16.2.0/30 +192.168.2.0/24"),
        ("other", "tunnel 2: lan_cidrs -172.16.2.0/30 +192.168.2.0/24"),
    ]


def test_a_budget_is_a_rate_of_a_client():
    before, after = plan_of(*reference()), edited(1, budget_rate="50mbit")
    assert texts("vps1", before, after) == [("rate", "tunnel 2: client client1: budget_rate none -> 50mbit")]


def test_classes_come_and_go_and_change():
    groups, hostvars = classified()
    before = plan_of(groups, copy.deepcopy(hostvars))
    link = hostvars["client1"]["mpquic_class_tunnels"][0]
    link["classes"].append({"name": "web", "match": [{"protocol": "tcp", "dports": [443]}], "nat": False, "number": 4})
    del link["classes"][2]
    link["lans"] = [{"name": "lan9", "cidrs": ["192.168.9.0/24"]}]
    after = plan_of(groups, hostvars)
    found = texts("client1", before, after)
    assert ("other", "classes of mt1: lans -enp7s1 (172.16.5.0/30) +lan9 (192.168.9.0/24)") in found
    assert ("added", "tunnel web5: new, on enp7s7 for 192.168.9.0/24") in found
    assert ("removed", "tunnel bk5: removed, it was on enp7s7") in found
    assert ("other", "tunnel mt1: client client1.bk5 removed") in texts("vps1", before, after)
    assert ("other", "tunnel mt1: client client1.web5 new, with 10.200.10.17/32") in texts("vps1", before, after)


def test_a_shaper_is_told_by_its_wan():
    groups, hostvars = classified(link(classes=MARKED), mpquic_wans=copy.deepcopy(WAN5))
    before = plan_of(groups, copy.deepcopy(hostvars))
    hostvars["client1"]["mpquic_wans"]["enp7s7"]["rate_up"] = "1500kbit"
    after = plan_of(groups, hostvars)
    assert ("rate", "shaper of enp7s7: rate 20mbit -> 1500kbit") in texts("client1", before, after)
    hostvars["client1"]["mpquic_class_tunnels"][0]["classes"][0]["share"] = 60
    shares = [found for found in texts("client1", after, plan_of(groups, hostvars)) if "shaper" in found[1]]
    assert shares[0] == ("other", "shaper of enp7s7: class cr5: share 31 -> 60")
    hostvars["client1"]["mpquic_wans"] = {}
    assert ("rate", "shaper of enp7s7: removed, its rate was 1500kbit") in texts(
        "client1", after, plan_of(groups, hostvars)
    )


def test_a_quota_is_told_as_it_is_written():
    groups, hostvars = reference()
    hostvars["client1"]["mpquic_wans"] = {"enp7s4": {"quota": "50G"}}
    before = plan_of(groups, copy.deepcopy(hostvars))
    hostvars["client1"]["mpquic_wans"] = {"enp7s4": {"quota": "1.5T", "metered": True}, "enp7s5": {"quota": "500M"}}
    found = texts("client1", before, plan_of(groups, hostvars))
    assert ("other", "WAN enp7s4: quota 50G -> 1500G") in found
    assert ("other", "WAN enp7s4: metered false -> true") in found
    assert ("other", "WAN enp7s5: quota none -> 500M") in found
    assert ("other", "WAN enp7s4: no longer counted") in texts("client1", before, plan_of(*reference()))


def test_a_dataplane_is_told_class_by_class():
    groups, hostvars = multipath(tunnel(dataplane=DATAPLANE))
    before = plan_of(groups, copy.deepcopy(hostvars))
    plane = hostvars["client1"]["mpquic_multipath_tunnels"][0]["dataplane"]
    plane["classes"]["calls"]["duplicate"] = False
    plane["classes"]["web"] = {"spray": True}
    plane["classifiers"][0]["dst_ports"] = [5061]
    assert texts("client1", before, plan_of(groups, hostvars)) == [
        ("other", "tunnel mp1: class calls: duplicate true -> false"),
        ("other", "tunnel mp1: class web new, spray true"),
        ("other", "tunnel mp1: no longer protocol udp, dst ports 5060 10000-20000, dscp 46 in class calls"),
        ("other", "tunnel mp1: now protocol udp, dst ports 5061, dscp 46 in class calls"),
    ]
    plane["classifiers"].reverse()
    found = texts("client1", before, plan_of(groups, hostvars))
    assert ("other", "tunnel mp1: class calls: duplicate true -> false") in found


def test_what_carries_packets_is_told():
    plan = plan_of(*reference())
    on_host = present(plan["client1"])
    assert {c["text"] for c in site_changes(plan["client1"], on_host, native="off")} == {
        f"tunnel {n}: native none -> off" for n in range(1, 7)
    }
    for config in on_host.values():
        config["native"] = "off"
    assert site_changes(plan["client1"], on_host, native="off") == []


@pytest.mark.parametrize("junk", [None, 5, "text", [], {"links": [{}]}, {"links": 5}, {"wans": [1]}, {"peers": [{}]}])
def test_what_somebody_else_wrote_is_no_obstacle(junk):
    groups, hostvars = classified(link(classes=MARKED), mpquic_wans=WAN5 | {"enp7s4": {"quota": "1G"}})
    plan = plan_of(groups, hostvars)
    for name in ("classes", "shaper", "wans"):
        found = site_changes(plan["client1"], present(plan["client1"]), files(plan["client1"]) | {name: junk})
        assert found
    on_host = present(plan["vps1"])
    for name in on_host:
        assert site_changes(plan["vps1"], on_host | {name: junk})


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
