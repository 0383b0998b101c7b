# SPDX-License-Identifier: GPL-3.0-or-later
"""What class tunnels bring to the hosts of a valid site."""

from __future__ import annotations

import copy
import ipaddress
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._peer_pins import peer_pins
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from class_sites import BK, CLASSES, CR, DF, MARKED, WAN5, classified, link, many
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import reference
from verdicts import plan_of

PIN = "sha256:" + "ab" * 32
ROUTED = {"name": "enp7s9", "cidrs": ["192.168.9.0/24", "fd00:9::/64"]}


def instances(host):
    return {instance["id"]: instance for instance in host["instances"]}


def configs(host):
    return {name: instance["config"] for name, instance in instances(host).items()}


def test_the_reference_site_has_the_reference_numbers():
    hosts = plan_of(*classified())
    client, server = instances(hosts["client1"]), instances(hosts["vps1"])
    assert list(client) == [1, 2, 3, 4, 5, 6, "cr5", "df5", "bk5"]
    assert list(server) == [1, 2, 3, 4, 5, 6, "mt1"]
    assert client["cr5"] == {
        "id": "cr5",
        "config": {
            "role": "client",
            "bind_ip": "if:enp7s7",
            "remote_addr": "203.0.113.10",
            "remote_port": 45010,
            "tun_name": "cr5",
            "tun_cidr": "10.200.10.1/32",
            "tun_peer": "10.200.10.254",
            "tun_mtu": 1441,
            "log_level": "info",
            "tls_cert_file": "/etc/mpquic/identity/cert.pem",
            "tls_key_file": "/etc/mpquic/identity/key.pem",
            "lan_routing": {"cidrs": [], "mark": 0x00110000, "table": 46016, "priority": 200},
        },
        "env": {"TUN_NAME": "cr5", "TUN_CIDR": "10.200.10.1/32", "TUN_MTU": "1441"},
    }
    routing = {"cidrs": [], "mark": 0x00130000, "table": 46018, "priority": 202}
    assert [client[name]["config"]["tun_cidr"] for name in ("df5", "bk5")] == ["10.200.10.5/32", "10.200.10.9/32"]
    assert client["bk5"]["config"]["lan_routing"] == routing
    assert server["mt1"] == {
        "id": "mt1",
        "config": {
            "role": "server",
            "multi_conn_enabled": True,
            "bind_ip": "203.0.113.10",
            "remote_port": 45010,
            "tun_name": "mt1",
            "tun_cidr": "10.200.10.254/24",
            "tun_mtu": 1441,
            "log_level": "info",
            "tls_cert_file": "/etc/mpquic/identity/cert.pem",
            "tls_key_file": "/etc/mpquic/identity/key.pem",
            "peers": [
                {"name": "client1.df5", "allowed": ["10.200.10.5/32"]},
                {"name": "client1.cr5", "allowed": ["10.200.10.1/32"]},
                {"name": "client1.bk5", "allowed": ["10.200.10.9/32"]},
            ],
        },
        "env": {"TUN_NAME": "mt1", "TUN_CIDR": "10.200.10.254/24", "TUN_MTU": "1441"},
        "owners": {f"client1.{name}": "client1" for name in ("df5", "cr5", "bk5")},
    }


def test_the_six_tunnels_stay_as_they_are():
    before, after = plan_of(*reference()), plan_of(*classified())
    for host in before:
        assert after[host]["instances"][:6] == before[host]["instances"]
        assert {k: v for k, v in after[host].items() if k in before[host] and k not in {"instances", "nft"}} == {
            k: v for k, v in before[host].items() if k not in {"instances", "nft"}
        }


def test_what_nft_has_to_know():
    hosts = plan_of(*classified())
    nft = hosts["client1"]["nft"]
    assert nft["tuns"][6:] == nft["nat_tuns"] == ["cr5", "df5", "bk5"]
    assert nft["guards"][4] == {
        "interface": "enp7s1",
        "cidrs": ["172.16.5.0/30"],
        "tuns": ["mpq5", "cr5", "df5", "bk5"],
    }
    assert [guard["tuns"] for guard in nft["guards"] if guard["interface"] != "enp7s1"] == [
        ["mpq1"],
        ["mpq2"],
        ["mpq3"],
        ["mpq4"],
        ["mpq6"],
    ]
    match = {"lan": [], "protocol": ["udp"], "src": [], "dst": [], "sports": [], "dscp": [46]}
    bulk = {"lan": [], "protocol": ["tcp"], "src": [], "dst": [], "sports": [], "dports": ["5001-6000"], "dscp": []}
    assert nft["classify"] == {
        "links": [
            {
                "name": "mt1",
                "lans": [{"interface": "enp7s1", "cidrs4": ["172.16.5.0/30"], "cidrs6": []}],
                "classes": [
                    {
                        "name": "cr5",
                        "tun": "cr5",
                        "mark": 0x00110000,
                        "matches": [match | {"dports": [5060, "10000-20000"]}],
                    },
                    {"name": "df5", "tun": "df5", "mark": 0x00120000, "matches": []},
                    {"name": "bk5", "tun": "bk5", "mark": 0x00130000, "matches": [bulk]},
                ],
                "default": "df5",
            }
        ]
    }
    assert "shape" not in nft
    server = hosts["vps1"]["nft"]
    assert server["tuns"][6:] == ["mt1"]
    assert server["masquerade"][12:] == ["10.200.10.0/24"]
    assert set(server) == {"tuns", "masquerade", "guards"}


def test_what_explains_on_the_client_where_a_packet_goes():
    hosts = plan_of(*classified())
    (explained,) = hosts["client1"]["classes"]["links"]
    (classify,) = hosts["client1"]["nft"]["classify"]["links"]
    assert (explained["wan"], explained["remote_addr"], explained["port"]) == ("enp7s7", "203.0.113.10", 45010)
    more = {"table", "priority", "tun_cidr", "nat", "outer_dscp"}
    for full, short in zip(explained["classes"], classify["classes"], strict=True):
        assert {key: value for key, value in full.items() if key not in more} == short
    assert {key: explained[key] for key in ("name", "lans", "default")} == {
        key: classify[key] for key in ("name", "lans", "default")
    }
    assert (explained["classes"][2]["table"], explained["classes"][2]["priority"]) == (46018, 202)
    assert "classes" not in hosts["vps1"]


def test_matches_are_put_in_one_form():
    match = {
        "protocol": ["udp", 6, "tcp", 99],
        "src": ["172.16.5.2/32", "172.16.5.0/30"],
        "dst": ["2001:db8::/32", "192.0.2.0/24", "192.0.2.128/25"],
        "dscp": ["EF", 46, "cs1", "af43", "le"],
    }
    ports = {"protocol": "sctp", "sports": 7, "dports": ["10-20", 5, "15-30", 31, 40]}
    hosts = plan_of(*classified(link(classes=[CR | {"match": [match, ports]}, DF])))
    (found,) = hosts["client1"]["nft"]["classify"]["links"]
    assert found["classes"][0]["matches"] == [
        {
            "lan": [],
            "protocol": ["tcp", "udp", 99],
            "src": ["172.16.5.0/30"],
            "dst": ["192.0.2.0/24", "2001:db8::/32"],
            "sports": [],
            "dports": [],
            "dscp": [1, 8, 38, 46],
        },
        {
            "lan": [],
            "protocol": ["sctp"],
            "src": [],
            "dst": [],
            "sports": [7],
            "dports": [5, "10-31", 40],
            "dscp": [],
        },
    ]


def test_a_shaped_wan():
    hosts = plan_of(*classified(link(classes=MARKED), mpquic_wans=WAN5))
    client, server = hosts["client1"], hosts["vps1"]
    shares = [
        {"name": "cr5", "minor": 0x101, "priority": 0, "share": 31},
        {"name": "df5", "minor": 0x102, "priority": 1, "share": 31},
        {"name": "bk5", "minor": 0x103, "priority": 2, "share": 31},
        {"name": "rest", "minor": 0x1FF, "priority": 7, "share": 5},
    ]
    both = {"name": "mt1", "inner": 0x100, "classes": shares}
    assert client["shaper"] == {"links": [{**both, "on": "if:enp7s7", "rate": 20_000_000, "default": True}]}
    assert server["shaper"] == {"links": [{**both, "on": "203.0.113.10", "rate": 30_000_000, "default": False}]}
    told = [(45010, 46, "101"), (45010, 0, "102"), (45010, 8, "103"), (45005, None, "1ff")]
    for host, interface, port_key in ((client, "enp7s7", "dport"), (server, None, "sport")):
        assert host["nft"]["shape"] == [
            {"interface": interface, "port_key": port_key, "port": port, "dscp": dscp, "classid": f"6d71:{minor}"}
            for port, dscp, minor in told
        ]
    near, far = configs(client), configs(server)
    assert [near[name].get("outer_dscp") for name in ("cr5", "df5", "bk5")] == [46, None, 8]
    assert [peer.get("outer_dscp") for peer in far["mt1"]["peers"]] == [None, 46, 8]
    assert [near[name]["rate"] for name in ("cr5", 5)] == ["20mbit", "20mbit"]
    assert [far[name]["rate"] for name in ("mt1", 5)] == ["30mbit", "30mbit"]


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_wan_with_a_rate_for_one_way_is_shaped_on_that_way(way):
    rates = {"enp7s7": {f"rate_{way}": "20mbit"}}
    hosts = plan_of(*classified(link(classes=MARKED), mpquic_wans=rates))
    for name, of in (("client1", "up"), ("vps1", "down")):
        assert ("shaper" in hosts[name]) == ("shape" in hosts[name]["nft"]) == (of == way)


@pytest.mark.parametrize(
    ("given", "shares"),
    [((None, None, None), (31, 31, 31)), ((30, None, None), (30, 32, 32)), ((95, None), None), ((60, 35), (60, 35))],
)
def test_shares(given, shares):
    classes = copy.deepcopy(MARKED)[: len(given)]
    for item, share in zip(classes, given, strict=True):
        if share is not None:
            item["share"] = share
    plan = site_plan(*classified(link(classes=classes), mpquic_wans=WAN5))
    assert bool(plan["errors"]) == (shares is None)
    if shares:
        (found,) = plan["hosts"]["client1"]["shaper"]["links"]
        assert tuple(item["share"] for item in found["classes"]) == (*shares, 5)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, ["cr5", "df5", "bk5"]),
        ({"suffix": "_x"}, ["cr_x", "df_x", "bk_x"]),
        ({"suffix": 12}, ["cr12", "df12", "bk12"]),
        ({"wan": "wan9", "lans": ["enp7s2"]}, ["cr1", "df1", "bk1"]),
    ],
)
def test_names_of_classes(values, names):
    assert plan_of(*classified(link(**values)))["client1"]["nft"]["tuns"][6:] == names


def test_a_wan_with_two_tunnels_gives_no_suffix():
    groups, hostvars = classified()
    hostvars["client1"]["mpquic_tunnels"][5]["wan"] = "enp7s7"
    client = plan_of(groups, hostvars)["client1"]
    assert client["nft"]["tuns"][6:] == ["cr1", "df1", "bk1"]
    # And both its LANs are classified.
    (found,) = client["nft"]["classify"]["links"]
    assert [lan["interface"] for lan in found["lans"]] == ["enp7s1", "enp7s2"]


def test_the_last_link_and_all_numbers_given():
    classes = [DF | {"table": 999, "rule_priority": 77, "number": 7}]
    values = {"port": 50000, "server_tun": "vps-b", "network": "10.3.0.0/20", "first": 1000, "network6": "fd00:3::/112"}
    hosts = plan_of(*classified(link(id=25, classes=classes, **values)))
    config = configs(hosts["client1"])["df5"]
    assert config["lan_routing"] == {"cidrs": [], "mark": 0x01980000, "table": 999, "priority": 77}
    assert (config["tun_cidr"], config["tun_peer"]) == ("10.3.15.189/32", "10.3.15.254")
    assert config["tun_cidr6"] == f"{ipaddress.ip_address('fd00:3::') + 4 * 1007 + 1}/128"
    far = instances(hosts["vps1"])["vps-b"]
    assert far["config"]["tun_cidr6"] == far["env"]["TUN_CIDR6"] == "fd00:3::ffff/112"
    assert far["config"]["remote_port"] == 50000
    last = configs(plan_of(*classified(link(id=25)))["client1"])["bk5"]
    assert last["lan_routing"] == {"cidrs": [], "mark": 0x01930000, "table": 46402, "priority": 394}
    assert (last["remote_port"], last["tun_cidr"]) == (45250, "10.200.250.9/32")


def test_ipv6_of_classes():
    hosts = plan_of(*classified(link(lans=[ROUTED])))
    near = instances(hosts["client1"])["bk5"]
    assert near["config"]["tun_cidr6"] == near["env"]["TUN_CIDR6"] == "fd6d:7071:10::9/128"
    far = instances(hosts["vps1"])["mt1"]
    assert far["config"]["tun_cidr6"] == far["env"]["TUN_CIDR6"] == "fd6d:7071:10::ffff/64"
    assert far["config"]["peers"][0]["allowed"] == ["10.200.10.5/32", "fd6d:7071:10::5/128"]
    assert hosts["vps1"]["nft"]["masquerade"][12:] == ["10.200.10.0/24", "fd6d:7071:10::/64"]
    nft = hosts["client1"]["nft"]
    assert nft["classify"]["links"][0]["lans"] == [
        {"interface": "enp7s9", "cidrs4": ["192.168.9.0/24"], "cidrs6": ["fd00:9::/64"]}
    ]
    assert nft["guards"][6:] == [
        {"interface": "enp7s9", "cidrs": ["192.168.9.0/24", "fd00:9::/64"], "tuns": ["cr5", "df5", "bk5"]}
    ]
    assert hosts["client1"]["classes"]["links"][0]["classes"][0]["tun_cidr6"] == "fd6d:7071:10::1/128"


@pytest.mark.parametrize(
    ("values", "client", "server"),
    [
        ({"lan_cidrs": ["fd00:2::/64"]}, "fd6d:7071:0:2::1/126", "fd6d:7071:0:2::2/126"),
        (
            {"lan_cidrs": ["172.16.2.0/30", "2001:db8:2::/48"], "tun_cidr6": "fd00:7::/127"},
            "fd00:7::/127",
            "fd00:7::1/127",
        ),
        ({"tun_cidr6": "fd00:7::4/126"}, "fd00:7::5/126", "fd00:7::6/126"),
        ({}, None, None),
    ],
)
def test_ipv6_of_tunnels(values, client, server):
    groups, hostvars = reference()
    hostvars["client1"]["mpquic_tunnels"][1] |= values
    hosts = plan_of(groups, hostvars)
    cidrs = values.get("lan_cidrs", ["172.16.2.0/30"])
    for name, address in (("client1", client), ("vps1", server)):
        instance = instances(hosts[name])[2]
        assert instance["config"].get("tun_cidr6") == instance["env"].get("TUN_CIDR6") == address
        assert instance["config"]["lan_routing"]["cidrs"] == cidrs
        assert "tun_cidr6" not in instances(hosts[name])[3]["config"]
    own = [f"{client.partition('/')[0]}/128"] if client else []
    assert configs(hosts["vps1"])[2]["peers"][0]["allowed"] == ["10.200.2.1/32", *own, *cidrs]
    assert hosts["client1"]["nft"]["guards"][1]["cidrs"] == cidrs
    network = [str(ipaddress.ip_interface(client).network)] if client else []
    assert hosts["vps1"]["nft"]["masquerade"][2:][: 1 + len(network + cidrs)] == ["10.200.2.0/30", *network, *cidrs]


def test_a_class_without_nat_shows_the_vps_its_lan():
    classes = [CR | {"nat": False}, DF, BK | {"nat": False}]
    hosts = plan_of(*classified(link(lans=[ROUTED], classes=classes)))
    assert hosts["client1"]["nft"]["nat_tuns"] == ["df5"]
    near = configs(hosts["client1"])
    cidrs = ["192.168.9.0/24", "fd00:9::/64"]
    assert [near[name]["lan_routing"]["cidrs"] for name in ("cr5", "df5", "bk5")] == [cidrs, [], cidrs]
    far = configs(hosts["vps1"])["mt1"]
    assert far["lan_routing"] == {"cidrs": cidrs}
    assert [peer.get("shared") for peer in far["peers"]] == [None, cidrs, cidrs]
    assert hosts["vps1"]["nft"]["masquerade"][12:] == ["10.200.10.0/24", "fd6d:7071:10::/64", *cidrs]


def test_a_guard_lets_a_prefix_into_the_tunnels_of_all_that_have_a_part_of_it():
    hosts = plan_of(*classified(link(lans=[{"name": "enp7s1", "cidrs": ["172.16.5.0/24", "172.16.7.0/24"]}])))
    assert hosts["client1"]["nft"]["guards"][4:] == [
        {"interface": "enp7s1", "cidrs": ["172.16.5.0/30"], "tuns": ["mpq5", "cr5", "df5", "bk5"]},
        {"interface": "enp7s2", "cidrs": ["172.16.6.0/30"], "tuns": ["mpq6"]},
        {"interface": "enp7s1", "cidrs": ["172.16.5.0/24"], "tuns": ["mpq5", "cr5", "df5", "bk5"]},
        {"interface": "enp7s1", "cidrs": ["172.16.7.0/24"], "tuns": ["cr5", "df5", "bk5"]},
    ]


def without_class(hosts, tun, peer):
    """Return the plan without everything that is one class's."""
    hosts = copy.deepcopy(hosts)
    for host in hosts.values():
        host["instances"] = [instance for instance in host["instances"] if instance["id"] != tun]
        for instance in host["instances"]:
            instance["config"]["peers"] = [p for p in instance["config"].get("peers", []) if p["name"] != peer]
            instance.get("owners", {}).pop(peer, None)
        nft = host["nft"]
        for tuns in (nft["tuns"], nft.get("nat_tuns", []), *(guard["tuns"] for guard in nft["guards"])):
            if tun in tuns:
                tuns.remove(tun)
        links = [*nft.get("classify", {}).get("links", []), *host.get("classes", {}).get("links", [])]
        for found in (*links, *host.get("shaper", {}).get("links", [])):
            found["classes"] = [item for item in found["classes"] if item["name"] != tun]
        nft["shape"] = [entry for entry in nft.get("shape", []) if entry["classid"] != "6d71:101"]
    return hosts


def test_removing_a_class_changes_what_is_its_own():
    shares = [{"number": k, "priority": k, "share": 30} for k in range(3)]
    classes = [item | more for item, more in zip(MARKED, shares, strict=True)]
    before = plan_of(*classified(link(classes=classes), mpquic_wans=WAN5))
    after = plan_of(*classified(link(classes=classes[1:]), mpquic_wans=WAN5))
    assert without_class(before, "cr5", "client1.cr5") == without_class(after, "cr5", "client1.cr5")
    assert without_class(before, "cr5", "client1.cr5") != before


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ((None, None, None), (0, 1, 2)),
        # One that comes into the middle of the list.
        ((None, 2, None), (0, 2, 1)),
        ((None, 7, None), (0, 7, 1)),
        ((0, None, None), (0, 1, 2)),
        ((1, None, None), (1, 0, 2)),
        ((1, 2, 0), (1, 2, 0)),
    ],
)
def test_numbers_of_classes(given, numbers):
    classes = [item if n is None else item | {"number": n} for item, n in zip(CLASSES, given, strict=True)]
    near = configs(plan_of(*classified(link(classes=classes)))["client1"])
    for name, number in zip(("cr5", "df5", "bk5"), numbers, strict=True):
        routing = {"cidrs": [], "mark": (0x11 + number) << 16, "table": 46016 + number, "priority": 200 + number}
        assert near[name]["lan_routing"] == routing
        assert near[name]["tun_cidr"] == f"10.200.10.{4 * number + 1}/32"


def test_removing_the_last_class_leaves_the_others_their_numbers():
    before = plan_of(*classified())
    after = plan_of(*classified(link(classes=CLASSES[:2])))
    assert before["client1"]["instances"][:8] == after["client1"]["instances"]


def test_removing_all_classes_leaves_nothing():
    assert plan_of(*classified()) != plan_of(*reference())
    groups, hostvars = classified()
    hostvars["client1"]["mpquic_class_tunnels"] = []
    assert plan_of(groups, hostvars) == plan_of(*reference())


def test_a_client_may_have_class_tunnels_only():
    groups, hostvars = many(1)
    hosts = plan_of(groups, hostvars)
    assert list(instances(hosts["client0"])) == ["cr1", "df1", "bk1"]
    assert hosts["client0"]["peers"] == [{"name": "vps1", "address": "203.0.113.10"}]
    assert hosts["vps1"]["peers"] == [{"name": "client0"}]


def test_several_clients_meet_in_one_instance():
    groups, hostvars = many(3)
    hostvars["client1"]["mpquic_class_tunnels"][0] |= {"id": 7, "port": 45010, "server_tun": "mt1", "suffix": "7"}
    hostvars["client2"]["mpquic_class_tunnels"][0]["log_level"] = "debug"
    hosts = plan_of(groups, hostvars)
    ((name, config),) = configs(hosts["vps1"]).items()
    assert (name, config["tun_cidr"], config["log_level"]) == ("mt1", "10.201.255.254/16", "debug")
    assert [peer["name"] for peer in config["peers"]] == [
        *("client0.df1", "client0.cr1", "client0.bk1"),
        *("client1.df7", "client1.cr7", "client1.bk7"),
        *("client2.df1", "client2.cr1", "client2.bk1"),
    ]
    assert config["peers"][4]["allowed"] == ["10.201.0.13/32"]
    assert configs(hosts["client1"])["cr7"]["lan_routing"]["mark"] == 0x00710000
    assert hosts["vps1"]["nft"] == {"tuns": ["mt1"], "masquerade": ["10.201.0.0/16"], "guards": []}
    # Every peer shows the key of its host; who has none is not let in.
    (pinned,) = peer_pins(hosts["vps1"]["instances"], {"client0": [PIN], "client2": [PIN]})
    assert [(peer["name"], list(peer)[1]) for peer in pinned["config"]["peers"]] == [
        (f"client{n}.{item}1", "pins") for n in (0, 2) for item in ("df", "cr", "bk")
    ]


def test_one_more_client_leaves_the_others_as_they_are():
    before, after = plan_of(*many(2)), plan_of(*many(3))
    assert {host: part for host, part in after.items() if host in before and host != "vps1"} == {
        host: part for host, part in before.items() if host != "vps1"
    }
    old, new = (configs(hosts["vps1"])["mt1"] for hosts in (before, after))
    assert new["peers"][:6] == old.pop("peers")
    assert {key: new[key] for key in old} == old


def test_clients_of_two_vps_may_be_the_same():
    groups, hostvars = classified()
    groups = {"mpquic_clients": ["client1", "client2"], "mpquic_vps": ["vps1", "vps2"]}
    hostvars["vps2"] = {"mpquic_public_address": "203.0.113.20"}
    hostvars["client2"] = hostvars["client1"] | {"mpquic_server": "vps2"}
    hostvars["client1"] = hostvars["client1"] | {"mpquic_server": "vps1"}
    hosts = plan_of(groups, hostvars)
    assert [list(instances(hosts[name]))[-1] for name in ("vps1", "vps2")] == ["mt1", "mt1"]


def test_a_ca_vouches_for_all_classes_of_a_host():
    groups, hostvars = classified()
    for host in hostvars:
        hostvars[host] |= {"mpquic_ca_file": "/pki/ca.pem", "mpquic_certificate_file": f"/pki/{host}.pem"}
    hosts = plan_of(groups, hostvars)
    far = instances(hosts["vps1"])["mt1"]
    assert [peer["cert_names"] for peer in far["config"]["peers"]] == [["client1"]] * 3
    assert configs(hosts["client1"])["cr5"]["tls_server_name"] == "vps1"
    assert peer_pins([far], {}) == [far]


def test_a_client_that_still_runs_the_go_implementation():
    site = classified(link(classes=MARKED), mpquic_wans=WAN5, mpquic_legacy_from=["198.51.100.0/24"])
    hosts = plan_of(*site)
    assert hosts["client1"]["instances"] == []
    assert {"classes", "shaper"} & set(hosts["client1"]) == set()
    far = instances(hosts["vps1"])["mt1"]
    assert far["owners"] == {}
    assert far["config"]["legacy_peers"][0] == {
        "name": "client1.df5",
        "address": "10.200.10.5",
        "from": ["198.51.100.0/24"],
        "allowed": [],
    }
    assert "shaper" not in hosts["vps1"]


def test_a_vps_that_still_runs_the_go_implementation():
    groups, hostvars = classified()
    hostvars["vps1"]["mpquic_legacy_pin"] = PIN
    hosts = plan_of(groups, hostvars)
    assert hosts["vps1"]["instances"] == []
    config = configs(hosts["client1"])["df5"]
    assert (config["legacy_server"], config["tls_server_pin"]) == (True, [PIN])


def test_budgets_are_of_each_class():
    far = configs(plan_of(*classified(link(budget_rate="50mbit", budget_packets=9000)))["vps1"])["mt1"]
    assert [(peer["budget_rate"], peer["budget_packets"]) for peer in far["peers"]] == [("50mbit", 9000)] * 3


def test_the_order_of_links_does_not_matter():
    links = [link(), link(id=2, wan="enp7s8")]
    assert plan_of(*classified(*links)) == plan_of(*classified(*links[::-1]))


def test_the_input_is_left_alone():
    site = classified(link(classes=MARKED), mpquic_wans=WAN5)
    before = copy.deepcopy(site)
    site_plan(*site)
    assert site == before


def test_two_hundred_clients_on_one_port_are_planned_in_a_reasonable_time():
    site = many(200)
    start = time.process_time()
    hosts = plan_of(*site)
    used = time.process_time() - start
    addresses = [peer["allowed"][0] for peer in configs(hosts["vps1"])["mt1"]["peers"]]
    assert len(set(addresses)) == 600
    # 0.05 s on the machine it was written on.
    assert used < 2


def test_six_hundred_tunnels_are_compared_in_a_reasonable_time():
    """Of one VPS with as many clients as ids allow, and then with every id taken twice more."""
    groups, hostvars = many(0)
    groups["mpquic_clients"] = ["a", "b", "c"]
    for n, host in enumerate(groups["mpquic_clients"]):
        hostvars[host] = {
            "mpquic_tunnels": [
                {"id": i, "wan": "w", "lan": f"l{i}", "lan_cidrs": [f"10.{n}.{i}.0/24", f"fd00:{n}:{i}::/64"]}
                for i in range(1, 201)
            ]
        }
    start = time.process_time()
    errors = site_plan(groups, hostvars)["errors"]
    used = time.process_time() - start
    assert len(errors) == 400
    assert all(": id: found " in error for error in errors)
    assert used < 5


def test_the_example_in_the_inventory_is_right():
    """What stands in comments there, for the operator to take."""
    lines = (Path(__file__).parents[4] / "inventories/example/host_vars/client1.yml").read_text().splitlines()
    first = lines.index("# mpquic_class_tunnels:")
    taken = [
        line[2:] for line in lines[first : lines.index("# With several hosts in mpquic_vps, a client names its own:")]
    ]
    variables = yaml.safe_load("\n".join(line for line in taken if line.startswith((" ", "mpquic_"))))
    assert set(variables) == {"mpquic_class_tunnels", "mpquic_multipath_tunnels", "mpquic_wans"}
    del variables["mpquic_multipath_tunnels"]  # it has a LAN of these
    hosts = plan_of(*classified(**variables))
    assert list(instances(hosts["client1"]))[6:] == ["cr5", "df5", "bk5"]
    assert {"classes", "shaper"} <= set(hosts["client1"])


@st.composite
def shared_sites(draw):
    """Draw clients with links, some of which meet in one instance of the VPS."""
    groups = {"mpquic_clients": [f"client{n}" for n in range(draw(st.integers(1, 4)))], "mpquic_vps": ["vps1"]}
    hostvars = {"vps1": {"mpquic_public_address": "203.0.113.10"}}
    for n, host in enumerate(groups["mpquic_clients"]):
        links = []
        for number in draw(st.lists(st.integers(1, 3), unique=True, max_size=3)):
            names = draw(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, min_size=1, max_size=4))
            classes = [{"name": name, "match": [{"dscp": dscp}]} for dscp, name in enumerate(names)]
            classes[draw(st.integers(0, len(names) - 1))] = {"name": names[-1] + "x", "default": True}
            lan = {"name": f"lan{number}", "cidrs": [f"192.168.{number}.0/24", f"fd00:{number}::/64"]}
            more = {"first": 8 * n} if draw(st.booleans()) else {"first": 8 * n, "log_level": "debug"}
            links.append({"id": number, "wan": f"wan{number}", "lans": [lan], "classes": classes, **more})
        hostvars[host] = {"mpquic_class_tunnels": links}
    return groups, hostvars


@settings(deadline=None)  # a busy machine is no error of the planner
@given(shared_sites())
def test_both_ends_of_all_classes_agree_and_share_nothing(site):
    groups, hostvars = site
    hosts = plan_of(groups, hostvars)
    far = configs(hosts["vps1"])
    peers = {peer["name"]: (config, peer) for config in far.values() for peer in config["peers"]}
    for host in groups["mpquic_clients"]:
        near = configs(hosts[host])
        for key in ("mark", "table", "priority"):
            assert len({config["lan_routing"][key] for config in near.values()}) == len(near)
        for name, config in near.items():
            end, peer = peers.pop(f"{host}.{name}")
            assert config["remote_port"] == end["remote_port"]
            assert [config["tun_cidr"], config["tun_cidr6"]] == peer["allowed"]
            for key in ("tun_cidr", "tun_cidr6"):
                address, network = (ipaddress.ip_interface(c[key]) for c in (config, end))
                assert address.ip in network.network
                assert address.ip != network.ip
            assert config["tun_peer"] == end["tun_cidr"].partition("/")[0]
    assert peers == {}, "the VPS lets in what no client has"
    for config in far.values():
        allowed = [prefix for peer in config["peers"] for prefix in peer["allowed"]]
        assert len(set(allowed)) == len(allowed)
        assert config["log_level"] in {"debug", "info"}
