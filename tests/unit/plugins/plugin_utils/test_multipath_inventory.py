# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan of a multipath tunnel puts on both ends."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml
from class_sites import WAN5, link
from multipath_sites import DATAPLANE, PATHS, multipath, tunnel, with_path
from sites import changed, reference
from verdicts import plan_of


def of(host, name="mp1"):
    return next(instance for instance in host["instances"] if instance["id"] == name)


def path(wan, **values):
    """Return a path as the daemon reads it."""
    place = {"name": wan, "bind_ip": f"if:{wan}", "remote_addr": "203.0.113.10", "remote_port": 45017}
    return place | {"priority": 0, "weight": 1} | values


def test_the_client_has_all_paths_and_the_server_is_told_by_it():
    plan = plan_of(*multipath())
    client, server = of(plan["client1"]), of(plan["vps1"])
    assert client["config"] == {
        "role": "client",
        "multipath_enabled": True,
        "multipath_policy": "priority",
        "multipath_paths": [
            path("enp7s3", priority=10),
            path("enp7s4", priority=100),
            path("enp7s5", priority=200),
        ],
        "tun_name": "mp1",
        "tun_cidr": "10.200.17.1/30",
        "tun_mtu": 1441,
        "log_level": "info",
        "tls_cert_file": "/etc/mpquic/identity/cert.pem",
        "tls_key_file": "/etc/mpquic/identity/key.pem",
        "lan_routing": {"interface": "enp7s2", "cidrs": ["172.16.6.0/30"], "table": 47001, "priority": 401},
    }
    assert client["env"] == {"TUN_NAME": "mp1", "TUN_CIDR": "10.200.17.1/30", "TUN_MTU": "1441"}
    assert server["config"] == {
        "role": "server",
        "bind_ip": "203.0.113.10",
        "remote_port": 45017,
        "tun_name": "mp1",
        "tun_cidr": "10.200.17.2/30",
        "tun_mtu": 1441,
        "log_level": "info",
        "tls_cert_file": "/etc/mpquic/identity/cert.pem",
        "tls_key_file": "/etc/mpquic/identity/key.pem",
        "peers": [{"name": "client1", "allowed": ["10.200.17.1/32", "172.16.6.0/30"]}],
        "lan_routing": {"cidrs": ["172.16.6.0/30"]},
    }


def test_it_adds_to_the_plan_of_the_others_and_changes_nothing():
    groups, hostvars = multipath()
    plan = plan_of(groups, hostvars)
    del hostvars["client1"]["mpquic_multipath_tunnels"]
    without = plan_of(groups, hostvars)
    for host in ("client1", "vps1"):
        own = [instance for instance in plan[host]["instances"] if instance["id"] != "mp1"]
        assert own == without[host]["instances"]
        assert plan[host]["nft"]["tuns"] == [*without[host]["nft"]["tuns"], "mp1"]
    guards = plan["client1"]["nft"]["guards"]
    assert guards == [
        *without["client1"]["nft"]["guards"],
        {"interface": "enp7s2", "cidrs": ["172.16.6.0/30"], "tuns": ["mp1"]},
    ]
    masquerade = plan["vps1"]["nft"]["masquerade"]
    assert masquerade == [*without["vps1"]["nft"]["masquerade"], "10.200.17.0/30", "172.16.6.0/30"]


def test_it_may_be_the_only_tunnel_of_a_site():
    groups, hostvars = multipath()
    del hostvars["client1"]["mpquic_tunnels"]
    plan = plan_of(groups, hostvars)
    assert plan["client1"]["peers"] == [{"name": "vps1", "address": "203.0.113.10"}]
    assert plan["vps1"]["peers"] == [{"name": "client1"}]
    assert plan["vps1"]["clients"] == ["client1"]
    assert [instance["id"] for instance in plan["vps1"]["instances"]] == ["mp1"]


def test_every_key_goes_where_it_belongs():
    values = {
        "id": 64,
        "policy": "balanced",
        "port": 50000,
        "tun_name": "wide",
        "tun_cidr": "10.9.0.0/31",
        "tun_mtu": 1300,
        "log_level": "debug",
        "telemetry_interval": 0,
        "budget_rate": "1gbit",
        "budget_packets": 9000,
        "table": 300,
        "rule_priority": 77,
    }
    plan = plan_of(*multipath(tunnel(**values)))
    client, server = of(plan["client1"], "wide"), of(plan["vps1"], "wide")
    expected = {"tun_name": "wide", "tun_mtu": 1300, "log_level": "debug", "telemetry_interval": 0}
    assert client["config"].items() >= expected.items() <= server["config"].items()
    assert client["config"]["multipath_policy"] == "balanced"
    assert {entry["remote_port"] for entry in client["config"]["multipath_paths"]} == {50000}
    assert server["config"]["remote_port"] == 50000
    assert (client["config"]["tun_cidr"], server["config"]["tun_cidr"]) == ("10.9.0.0/31", "10.9.0.1/31")
    assert client["config"]["lan_routing"] == {
        "interface": "enp7s2",
        "cidrs": ["172.16.6.0/30"],
        "table": 300,
        "priority": 77,
    }
    (peer,) = server["config"]["peers"]
    assert (peer["budget_rate"], peer["budget_packets"]) == ("1gbit", 9000)


def test_ipv6_behind_it_gives_it_ipv6():
    plan = plan_of(*multipath(tunnel(lan_cidrs=["172.16.6.0/30", "fd00:6::/64"])))
    client, server = of(plan["client1"]), of(plan["vps1"])
    assert client["config"]["tun_cidr6"] == client["env"]["TUN_CIDR6"] == "fd6d:7071:1:1::1/126"
    assert server["config"]["tun_cidr6"] == "fd6d:7071:1:1::2/126"
    assert server["config"]["peers"][0]["allowed"] == [
        "10.200.17.1/32",
        "fd6d:7071:1:1::1/128",
        "172.16.6.0/30",
        "fd00:6::/64",
    ]
    assert {"fd6d:7071:1:1::/126", "fd00:6::/64"} <= set(plan["vps1"]["nft"]["masquerade"])


def test_a_path_has_the_rates_of_its_wan_unless_it_says_others():
    wans = {"enp7s3": {"rate": "20mbit"}, "enp7s4": {"rate_up": "10mbit", "rate_down": "50mbit"}}
    paths = copy.deepcopy(PATHS)
    paths[1] |= {"rate_down": "5mbit"}
    plan = plan_of(*multipath(tunnel(paths=paths), mpquic_wans=wans))
    rates = [(entry.get("rate"), entry.get("rate_down")) for entry in of(plan["client1"])["config"]["multipath_paths"]]
    assert rates == [("20mbit", "20mbit"), ("10mbit", "5mbit"), (None, None)]
    assert "rate" not in of(plan["client1"])["config"]
    assert "rate" not in of(plan["vps1"])["config"]


def test_the_dataplane_is_that_of_the_inventory_in_one_form():
    plan = plan_of(*multipath(tunnel(dataplane=DATAPLANE)))
    assert of(plan["client1"])["config"]["dataplane"] == {
        "default_class": "rest",
        "classes": {
            "calls": {"preferred_paths": ["enp7s3"], "duplicate": True},
            "bulk": {"scheduler_policy": "balanced", "excluded_paths": ["enp7s5"], "spray": True},
            "rest": {},
        },
        "classifiers": [
            {"name": "sip", "class": "calls", "protocol": ["udp"], "dst_ports": [5060, "10000-20000"], "dscp": [46]},
            {
                "class": "bulk",
                "protocol": ["tcp", 132],
                "src_cidrs": ["172.16.6.2/32"],
                "dst_cidrs": ["192.0.2.0/24"],
            },
        ],
    }
    assert "dataplane" not in of(plan["vps1"])["config"]


def test_one_class_is_the_default_class():
    plan = plan_of(*multipath(tunnel(dataplane={"classes": {"All": None}})))
    assert of(plan["client1"])["config"]["dataplane"] == {"default_class": "All", "classes": {"All": {}}}


@pytest.mark.parametrize("values", [{"weight": 7}, {"priority": 1}, {"wan": "enp7s8"}])
def test_an_edit_of_a_path_changes_one_file_of_one_host(values):
    before, after = plan_of(*multipath()), plan_of(*with_path(1, **values))
    assert before["vps1"] == after["vps1"]
    differing = [
        a["id"] for a, b in zip(before["client1"]["instances"], after["client1"]["instances"], strict=True) if a != b
    ]
    assert differing == ["mp1"]
    assert before["client1"]["nft"] == after["client1"]["nft"]
    assert of(before["client1"])["env"] == of(after["client1"])["env"]


def test_beside_class_tunnels_its_packets_are_in_the_rest_of_the_shaper():
    shaped = {"mpquic_class_tunnels": [link(classes=[{"name": "df", "default": True}])], "mpquic_wans": WAN5}
    plan = plan_of(*multipath(tunnel(paths=[*PATHS, {"wan": "enp7s7"}]), **shaped))
    mine = [packets for packets in plan["client1"]["nft"]["shape"] if packets["port"] == 45017]
    assert mine == [{"interface": "enp7s7", "port_key": "dport", "port": 45017, "dscp": None, "classid": "6d71:1ff"}]
    # Its port does not say there by which WAN a packet goes.
    assert 45017 not in [packets["port"] for packets in plan["vps1"]["nft"]["shape"]]
    elsewhere = plan_of(*multipath(**shaped))
    assert 45017 not in [packets["port"] for packets in elsewhere["client1"]["nft"]["shape"]]


def test_a_ca_vouches_for_it_as_for_others():
    ca = {"mpquic_ca_file": "/ca.pem", "mpquic_certificate_file": "/host.pem"}
    groups, hostvars = multipath()
    plan = plan_of(groups, changed(changed(hostvars, "client1", **ca), "vps1", **ca))
    assert of(plan["client1"])["config"]["tls_server_name"] == "vps1"
    assert of(plan["vps1"])["config"]["peers"][0]["cert_names"] == ["client1"]


def test_tunnels_come_in_the_order_of_their_ids():
    other = tunnel(id=2, lan="enp7s9", lan_cidrs=["192.168.9.0/24"])
    plan = plan_of(*multipath(other, tunnel()))
    for host in ("client1", "vps1"):
        assert [instance["id"] for instance in plan[host]["instances"]][-2:] == ["mp1", "mp2"]


def test_an_empty_list_is_none():
    groups, hostvars = reference()
    without = plan_of(groups, hostvars)
    assert plan_of(groups, changed(hostvars, "client1", mpquic_multipath_tunnels=[])) == without


def test_the_example_in_the_inventory_is_right():
    """What stands in comments there, for the operator to take."""
    lines = (Path(__file__).parents[4] / "inventories/example/host_vars/client1.yml").read_text().splitlines()
    first = lines.index("# mpquic_multipath_tunnels:")
    block = lines[first : lines.index("#", first)]
    (entry,) = yaml.safe_load("\n".join(line[2:] for line in block))["mpquic_multipath_tunnels"]
    assert entry == tunnel()


@pytest.mark.parametrize("index", range(4))
def test_the_examples_of_the_page_are_right(index):
    page = (Path(__file__).parents[4] / "docs" / "multipath.md").read_text()
    examples = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]
    dataplane = examples.pop()
    assert len(examples) == 4
    (entry,) = examples[index]["mpquic_multipath_tunnels"]
    plan = plan_of(*multipath(entry | dataplane))
    assert of(plan["client1"])["config"]["dataplane"]["default_class"] == "rest"
