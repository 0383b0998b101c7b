# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan of a valid site is."""

from __future__ import annotations

import copy
import ipaddress
from itertools import combinations

import pytest
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import LANS, WANS, changed, reference, sites
from verdicts import plan_of


def test_the_reference_site_has_the_reference_numbers():
    hosts = plan_of(*reference())
    assert hosts["client1"]["instances"][3] == {
        "id": 4,
        "config": {
            "role": "client",
            "bind_ip": "if:enp7s6",
            "remote_addr": "203.0.113.10",
            "remote_port": 45004,
            "tun_name": "mpq4",
            "tun_cidr": "10.200.4.1/30",
            "tun_mtu": 1441,
            "log_level": "info",
            "tls_cert_file": "/etc/mpquic/identity/cert.pem",
            "tls_key_file": "/etc/mpquic/identity/key.pem",
            "lan_routing": {"interface": "enp6s23", "cidrs": ["172.16.4.0/30"], "table": 45004, "priority": 504},
        },
        "env": {"TUN_NAME": "mpq4", "TUN_CIDR": "10.200.4.1/30", "TUN_MTU": "1441"},
    }
    assert hosts["vps1"]["instances"][3] == {
        "id": 4,
        "config": {
            "role": "server",
            "bind_ip": "203.0.113.10",
            "remote_port": 45004,
            "tun_name": "mpq4",
            "tun_cidr": "10.200.4.2/30",
            "tun_mtu": 1441,
            "log_level": "info",
            "tls_cert_file": "/etc/mpquic/identity/cert.pem",
            "tls_key_file": "/etc/mpquic/identity/key.pem",
            "peers": [{"name": "client1", "allowed": ["10.200.4.1/32", "172.16.4.0/30"]}],
            "lan_routing": {"cidrs": ["172.16.4.0/30"]},
        },
        "env": {"TUN_NAME": "mpq4", "TUN_CIDR": "10.200.4.2/30", "TUN_MTU": "1441"},
    }
    assert [i["config"]["bind_ip"] for i in hosts["client1"]["instances"]] == [f"if:{wan}" for wan in WANS]
    assert hosts["client1"]["server"] == "vps1"
    assert hosts["vps1"]["clients"] == ["client1"]
    # Whose keys each host has to know.
    assert hosts["client1"]["peers"] == [{"name": "vps1", "address": "203.0.113.10"}]
    assert hosts["vps1"]["peers"] == [{"name": "client1"}]


def test_nft_data_of_both_ends():
    hosts = plan_of(*reference())
    assert hosts["client1"]["nft"] == {
        "tuns": [f"mpq{i}" for i in range(1, 7)],
        "masquerade": [],
        "guards": [
            {"interface": lan, "cidrs": [f"172.16.{i}.0/30"], "tuns": [f"mpq{i}"]}
            for i, lan in enumerate(LANS, start=1)
        ],
    }
    nft = hosts["vps1"]["nft"]
    assert nft["masquerade"][:4] == ["10.200.1.0/30", "172.16.1.0/30", "10.200.2.0/30", "172.16.2.0/30"]
    assert (len(nft["masquerade"]), nft["guards"]) == (12, [])


def test_the_vps_may_listen_on_another_address_than_the_public_one():
    groups, hostvars = reference()
    hosts = plan_of(groups, changed(hostvars, "vps1", mpquic_bind_address="10.0.0.5"))
    assert hosts["vps1"]["instances"][0]["config"]["bind_ip"] == "10.0.0.5"
    assert hosts["client1"]["instances"][0]["config"]["remote_addr"] == "203.0.113.10"


def test_a_client_without_tunnels_has_no_instances():
    groups, hostvars = reference()
    hosts = plan_of(groups, changed(hostvars, "client1", mpquic_tunnels=[]))
    assert hosts["client1"]["instances"] == hosts["vps1"]["instances"] == []


def test_two_tunnels_on_one_wan_are_allowed_with_a_warning():
    groups, hostvars = reference()
    plan = site_plan(groups, changed(hostvars, "client1", 1, wan="enp7s5"))
    assert plan["errors"] == []
    assert plan["warnings"] == [
        "client1: mpquic_tunnels[2] (id 3): wan: enp7s5 also carries client1: mpquic_tunnels[1] (id 2)"
    ]


@pytest.mark.parametrize(
    ("tunnel", "wan", "up", "down"),
    [
        ({}, {}, None, None),
        ({"rate": "20mbit"}, {}, "20mbit", "20mbit"),
        ({"rate_up": "5mbit"}, {}, "5mbit", None),
        ({"rate": "20mbit", "rate_down": "50mbit"}, {}, "20mbit", "50mbit"),
        ({}, {"rate_up": "5mbit", "rate_down": "50mbit"}, "5mbit", "50mbit"),
        ({"rate_up": "4mbit"}, {"rate": "20mbit"}, "4mbit", "20mbit"),
        ({"rate": "2mbit"}, {"rate_up": "5mbit", "rate_down": "50mbit"}, "2mbit", "2mbit"),
    ],
)
def test_each_end_sends_at_the_rate_of_its_direction(tunnel, wan, up, down):
    groups, hostvars = reference()
    hostvars = changed(changed(hostvars, "client1", 1, **tunnel), "client1", mpquic_wans={WANS[1]: wan})
    hosts = plan_of(groups, hostvars)
    rates = [[i["config"].get("rate") for i in hosts[name]["instances"]] for name in ("client1", "vps1")]
    assert rates == [[None, up, *[None] * 4], [None, down, *[None] * 4]]


def test_a_tunnel_that_moves_takes_the_rate_of_its_new_wan():
    groups, hostvars = reference()
    hostvars = changed(hostvars, "client1", mpquic_wans={WANS[5]: {"rate": "20mbit"}})
    assert "rate" not in plan_of(groups, hostvars)["client1"]["instances"][0]["config"]
    moved = plan_of(groups, changed(hostvars, "client1", 0, wan=WANS[5]))
    assert moved["client1"]["instances"][0]["config"]["rate"] == "20mbit"
    assert moved["vps1"]["instances"][0]["config"]["rate"] == "20mbit"


def test_a_wan_that_no_tunnel_uses_is_mentioned():
    groups, hostvars = reference()
    hostvars["client1"]["mpquic_wans"] = {"enp7s3": {"rate": "20mbit"}, "enp7s77": {"rate": "20mbit"}}
    assert site_plan(groups, hostvars)["warnings"] == ["client1: mpquic_wans[enp7s77]: no tunnel leaves by it"]
    hostvars["client1"]["mpquic_tunnels"][0]["lan"] = 7
    assert site_plan(groups, hostvars)["warnings"] == []


def test_a_misspelt_variable_is_mentioned():
    groups, hostvars = reference()
    plan = site_plan(groups, changed(hostvars, "vps1", mpquic_bind_adress="10.0.0.5", mpquic_site_name="alpha"))
    assert plan["warnings"] == ["vps1: mpquic_bind_adress: unknown variable, did you mean mpquic_bind_address?"]


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites())
def test_no_two_entries_share_anything(site):
    hosts = plan_of(*site)
    for host in hosts.values():
        configs = [instance["config"] for instance in host["instances"]]
        assert len({instance["id"] for instance in host["instances"]}) == len(configs)
        for key in ("remote_port", "tun_name", "tun_cidr"):
            assert len({config[key] for config in configs}) == len(configs)
        routing = [config["lan_routing"] for config in configs]
        if host["role"] == "client":
            for key in ("table", "priority"):
                assert len({entry[key] for entry in routing}) == len(configs)
        networks = [ipaddress.ip_interface(config["tun_cidr"]).network for config in configs]
        networks += [ipaddress.ip_network(cidr) for entry in routing for cidr in entry["cidrs"]]
        assert not any(a.overlaps(b) for a, b in combinations(networks, 2))


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites())
def test_both_ends_agree(site):
    groups, hostvars = site
    hosts = plan_of(groups, hostvars)
    ends = {(name, i["id"]): i for name in groups["mpquic_vps"] for i in hosts[name]["instances"]}
    for name in groups["mpquic_clients"]:
        server = hosts[name]["server"]
        assert name in hosts[server]["clients"]
        for instance in hosts[name]["instances"]:
            near, far = instance["config"], ends.pop((server, instance["id"]))["config"]
            assert near["remote_addr"] == far["bind_ip"] == hostvars[server]["mpquic_public_address"]
            for key in ("remote_port", "tun_name", "tun_mtu", "log_level"):
                assert near[key] == far[key]
            assert near["lan_routing"]["cidrs"] == far["lan_routing"]["cidrs"]
            assert [peer["name"] for peer in far["peers"]] == [name]
            assert {"name": name} in hosts[server]["peers"]
            a, b = ipaddress.ip_interface(near["tun_cidr"]), ipaddress.ip_interface(far["tun_cidr"])
            assert a.network == b.network
            assert int(b.ip) == int(a.ip) + 1
            assert set(far["lan_routing"]["cidrs"]) <= set(hosts[server]["nft"]["masquerade"])
            assert str(a.network) in hosts[server]["nft"]["masquerade"]
    assert ends == {}, "the VPS has an instance that no client has"


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites())
def test_a_peer_owns_what_is_behind_its_tunnel_and_nothing_else(site):
    """As the daemon checks it: no overlap within or between peers, and not the server's own TUN address."""
    for host in plan_of(*site).values():
        if host["role"] == "server":
            configs = [instance["config"] for instance in host["instances"]]
            for config in configs:
                own = ipaddress.ip_interface(config["tun_cidr"])
                (peer,) = config["peers"]
                first, *lans = map(ipaddress.ip_network, peer["allowed"])
                assert (first.prefixlen, first.subnet_of(own.network)) == (32, True)
                assert [str(lan) for lan in lans] == config["lan_routing"]["cidrs"]
                assert own.ip not in first
                assert not any(own.ip in lan for lan in lans)
            allowed = [ipaddress.ip_network(p) for config in configs for p in config["peers"][0]["allowed"]]
            assert not any(a.overlaps(b) for a, b in combinations(allowed, 2))


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites())
def test_the_environment_says_what_the_config_says(site):
    for host in plan_of(*site).values():
        for instance in host["instances"]:
            config, env = instance["config"], instance["env"]
            assert [env["TUN_NAME"], env["TUN_CIDR"], env["TUN_MTU"]] == [
                config["tun_name"],
                config["tun_cidr"],
                str(config["tun_mtu"]),
            ]


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites())
def test_every_lan_is_guarded_towards_its_own_tun(site):
    hosts = plan_of(*site)
    for host in hosts.values():
        guards = host["nft"]["guards"]
        expected = [
            (
                i["config"]["lan_routing"]["interface"],
                tuple(i["config"]["lan_routing"]["cidrs"]),
                i["config"]["tun_name"],
            )
            for i in host["instances"]
            if host["role"] == "client"
        ]
        assert [(guard["interface"], tuple(guard["cidrs"]), *guard["tuns"]) for guard in guards] == expected


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites(min_tunnels=1), st.data())
def test_moving_one_wan_changes_one_instance_of_one_host(site, data):
    groups, hostvars = site
    client = data.draw(st.sampled_from([c for c in groups["mpquic_clients"] if hostvars[c]["mpquic_tunnels"]]))
    index = data.draw(st.integers(0, len(hostvars[client]["mpquic_tunnels"]) - 1))
    # The rate of a WAN is for the VPS's end too.
    hostvars[client].pop("mpquic_wans", None)
    before = plan_of(groups, hostvars)
    after = plan_of(groups, changed(hostvars, client, index, wan="elsewhere"))
    moved = hostvars[client]["mpquic_tunnels"][index]["id"]
    for name, host in after.items():
        assert {k: v for k, v in host.items() if k != "instances"} == {
            k: v for k, v in before[name].items() if k != "instances"
        }
        differ = [b["id"] for a, b in zip(before[name]["instances"], host["instances"], strict=True) if a != b]
        assert differ == ([moved] if name == client else [])
    instance = next(i for i in after[client]["instances"] if i["id"] == moved)
    assert instance["config"].pop("bind_ip") == "if:elsewhere"


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites(), st.randoms())
def test_the_order_of_the_list_does_not_matter(site, random):
    groups, hostvars = site
    shuffled = copy.deepcopy(hostvars)
    for client in groups["mpquic_clients"]:
        random.shuffle(shuffled[client]["mpquic_tunnels"])
    assert plan_of(groups, shuffled) == plan_of(groups, hostvars)


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites())
def test_the_input_is_left_alone(site):
    groups, hostvars = site
    before = copy.deepcopy((groups, hostvars))
    site_plan(groups, hostvars)
    assert (groups, hostvars) == before


@pytest.mark.parametrize("number", [1, 255])
def test_the_ends_of_the_numbering(number):
    groups, hostvars = reference()
    entry = {"id": number, "wan": "enp7s3", "lan": "enp6s20"}
    hosts = plan_of(groups, changed(hostvars, "client1", mpquic_tunnels=[entry]))
    config = hosts["client1"]["instances"][0]["config"]
    assert (config["remote_port"], config["tun_cidr"]) == (45000 + number, f"10.200.{number}.1/30")


def test_the_order_of_lan_prefixes_does_not_matter():
    groups, hostvars = reference()
    cidrs = ["192.168.8.0/24", "192.168.7.0/24"]
    plans = [plan_of(groups, changed(hostvars, "client1", 0, lan_cidrs=order)) for order in (cidrs, cidrs[::-1])]
    assert plans[0] == plans[1]


def test_two_clients_of_one_vps_may_use_one_table_and_priority():
    groups, hostvars = reference()
    groups["mpquic_clients"].append("client2")
    entry = {"id": 7, "wan": "eth0", "lan": "eth1", "table": 45001, "priority": 501}
    hosts = plan_of(groups, hostvars | {"client2": {"mpquic_tunnels": [entry]}})
    assert hosts["client2"]["instances"][0]["config"]["lan_routing"]["table"] == 45001
    assert hosts["vps1"]["clients"] == ["client1", "client2"]
