# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner says of a bad inventory: each error one line with host, variable, entry and expectation."""

from __future__ import annotations

import pytest
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import changed, reference, sites
from verdicts import plan_of, refused, verdict

LIST = "expected a list of at least one network such as [172.16.1.0/30]"
ENTRY = "client1: mpquic_tunnels[1] (id 2)"
THIRD = "client1: mpquic_tunnels[2] (id 3)"
FIRST = "client1: mpquic_tunnels[0] (id 1)"
UNKNOWN = (
    f"{ENTRY}: colour: unknown key, expected one of id, wan, lan, lan_cidrs, port, tun_cidr, tun_cidr6, tun_name,"
    " tun_mtu, log_level, table, priority, rate, rate_up, rate_down, budget_rate, budget_packets"
)
NAME = "expected an interface name of 1 to 15 characters (letters, digits, . _ -)"
RATE = "expected a rate from 32kbit to 100gbit such as 500kbit, 20mbit or 1gbit"
TUN = "expected an IPv4 network of /30 to /31 such as 10.200.1.0/30"
LAN = "expected an IPv4 network of /8 to /32 or an IPv6 network of /16 to /128 such as 172.16.1.0/30"
TUN6 = "expected an IPv6 network of /126 to /127 such as fd6d:7071:0:1::/126"

TUNNEL_KEYS = [
    ({"wan": "enp7 s5"}, [f"{ENTRY}: wan: found 'enp7 s5', {NAME}"]),
    ({"wan": "averyveryverylongname"}, [f"{ENTRY}: wan: found 'averyveryverylongname', {NAME}"]),
    ({"wan": ""}, [f"{ENTRY}: wan: found '', {NAME}"]),
    ({"lan": 7}, [f"{ENTRY}: lan: found 7, {NAME}"]),
    ({"lan": "lo"}, [f"{ENTRY}: lan: found 'lo', expected the name of an interface that carries traffic"]),
    ({"lan": 'x"; drop'}, [f"""{ENTRY}: lan: found 'x"; drop', {NAME}"""]),
    ({"tun_name": "tun/2"}, [f"{ENTRY}: tun_name: found 'tun/2', {NAME}"]),
    ({"tun_name": "mpq1"}, [f"{ENTRY}: tun_name: found 'mpq1', already used by {FIRST}"]),
    (
        {"tun_name": "enp7s5"},
        [f"{ENTRY}: tun_name: found 'enp7s5', already the wan of {THIRD}"],
    ),
    ({"tun_name": "enp6s20"}, [f"{ENTRY}: tun_name: found 'enp6s20', already the lan of {FIRST}"]),
    ({"lan": "enp7s3"}, [f"{ENTRY}: lan: found 'enp7s3', already the wan of {FIRST}"]),
    ({"lan": "enp7s4"}, [f"{ENTRY}: lan: found 'enp7s4', already the wan of {ENTRY}"]),
    ({"port": 80}, [f"{ENTRY}: port: found 80, expected an integer from 1024 to 65535"]),
    ({"port": "45002"}, [f"{ENTRY}: port: found '45002', expected an integer from 1024 to 65535"]),
    ({"port": True}, [f"{ENTRY}: port: found True, expected an integer from 1024 to 65535"]),
    ({"port": 45001}, [f"{ENTRY}: port: found 45001, already used by {FIRST}"]),
    ({"table": 45001}, [f"{ENTRY}: table: found 45001, already used by {FIRST}"]),
    ({"table": 254}, [f"{ENTRY}: table: found 254, expected an integer from 256 to 4294967295"]),
    ({"priority": 501}, [f"{ENTRY}: priority: found 501, already used by {FIRST}"]),
    ({"priority": 32766}, [f"{ENTRY}: priority: found 32766, expected an integer from 1 to 32765"]),
    ({"tun_mtu": 100}, [f"{ENTRY}: tun_mtu: found 100, expected an integer from 576 to 9000"]),
    ({"log_level": "warn"}, [f"{ENTRY}: log_level: found 'warn', expected one of debug, info, error"]),
    ({"rate": 20}, [f"{ENTRY}: rate: found 20, {RATE}"]),
    ({"rate": None}, [f"{ENTRY}: rate: found None, {RATE}"]),
    ({"rate_up": "20mbps"}, [f"{ENTRY}: rate_up: found '20mbps', {RATE}"]),
    ({"rate_down": "31kbit"}, [f"{ENTRY}: rate_down: found '31kbit', {RATE}"]),
    ({"budget_rate": "fast"}, [f"{ENTRY}: budget_rate: found 'fast', {RATE}"]),
    (
        {"budget_packets": 0},
        [f"{ENTRY}: budget_packets: found 0, expected an integer from 1 to 1000000000"],
    ),
    ({"rat": "20mbit"}, [f"{ENTRY}: rat: unknown key, did you mean rate?"]),
    ({"tun_cidr": "10.200.2.0/24"}, [f"{ENTRY}: tun_cidr: found '10.200.2.0/24', {TUN}"]),
    ({"tun_cidr": "10.200.2.0"}, [f"{ENTRY}: tun_cidr: found '10.200.2.0', {TUN}"]),
    ({"tun_cidr": "10.200.256.0/30"}, [f"{ENTRY}: tun_cidr: found '10.200.256.0/30', {TUN}"]),
    ({"tun_cidr": "fd00::/126"}, [f"{ENTRY}: tun_cidr: found 'fd00::/126', {TUN}"]),
    ({"tun_cidr": "127.0.0.0/30"}, [f"{ENTRY}: tun_cidr: found '127.0.0.0/30', {TUN}"]),
    (
        {"tun_cidr": "10.200.2.1/30"},
        [f"{ENTRY}: tun_cidr: found '10.200.2.1/30', expected a network without host bits, here 10.200.2.0/30"],
    ),
    (
        {"tun_cidr": "10.200.1.0/30"},
        [f"{ENTRY}: tun_cidr: found 10.200.1.0/30, overlaps tun_cidr 10.200.1.0/30 of {FIRST}"],
    ),
    (
        {"tun_cidr": "172.16.1.0/30"},
        [f"{ENTRY}: tun_cidr: found 172.16.1.0/30, overlaps lan_cidrs 172.16.1.0/30 of {FIRST}"],
    ),
    (
        {"tun_cidr": "172.16.2.0/30"},
        [f"{ENTRY}: lan_cidrs: found 172.16.2.0/30, overlaps tun_cidr 172.16.2.0/30 of the same tunnel"],
    ),
    ({"tun_cidr6": "fd00::/64"}, [f"{ENTRY}: tun_cidr6: found 'fd00::/64', {TUN6}"]),
    ({"tun_cidr6": "10.200.2.0/30"}, [f"{ENTRY}: tun_cidr6: found '10.200.2.0/30', {TUN6}"]),
    ({"tun_cidr6": "fe80::/126"}, [f"{ENTRY}: tun_cidr6: found 'fe80::/126', {TUN6}"]),
    (
        {"tun_cidr6": "fd00::1/126"},
        [f"{ENTRY}: tun_cidr6: found 'fd00::1/126', expected a network without host bits, here fd00::/126"],
    ),
    (
        {"lan_cidrs": ["fd00:2::/64"], "tun_mtu": 1279},
        [f"{ENTRY}: tun_mtu: found 1279, expected at least 1280, because the tunnel carries IPv6"],
    ),
    (
        {"lan_cidrs": ["fd6d:7071:0:2::/64"]},
        [f"{ENTRY}: lan_cidrs: found fd6d:7071:0:2::/64, overlaps tun_cidr6 fd6d:7071:0:2::/126 of the same tunnel"],
    ),
    ({"lan_cidrs": ["fe80::/64"]}, [f"{ENTRY}: lan_cidrs[0]: found 'fe80::/64', {LAN}"]),
    ({"lan_cidrs": ["::1/128"]}, [f"{ENTRY}: lan_cidrs[0]: found '::1/128', {LAN}"]),
    ({"lan_cidrs": ["2000::/3"]}, [f"{ENTRY}: lan_cidrs[0]: found '2000::/3', {LAN}"]),
    ({"lan_cidrs": ["fd00:::/64"]}, [f"{ENTRY}: lan_cidrs[0]: found 'fd00:::/64', {LAN}"]),
    (
        {"lan_cidrs": []},
        [f"{ENTRY}: lan_cidrs: found [], {LIST}"],
    ),
    (
        {"lan_cidrs": "172.16.2.0/30"},
        [
            f"{ENTRY}: lan_cidrs: found '172.16.2.0/30', {LIST}",
        ],
    ),
    ({"lan_cidrs": ["172.16.2.0/33"]}, [f"{ENTRY}: lan_cidrs[0]: found '172.16.2.0/33', {LAN}"]),
    ({"lan_cidrs": ["0.0.0.0/0"]}, [f"{ENTRY}: lan_cidrs[0]: found '0.0.0.0/0', {LAN}"]),
    ({"lan_cidrs": ["224.0.0.0/8"]}, [f"{ENTRY}: lan_cidrs[0]: found '224.0.0.0/8', {LAN}"]),
    (
        {"lan_cidrs": ["172.16.0.0/23"]},
        [f"{ENTRY}: lan_cidrs: found 172.16.0.0/23, overlaps lan_cidrs 172.16.1.0/30 of {FIRST}"],
    ),
    (
        {"lan_cidrs": ["192.168.0.0/24", "192.168.0.128/25"]},
        [f"{ENTRY}: lan_cidrs: found 192.168.0.128/25, overlaps 192.168.0.0/24 of the same tunnel"],
    ),
    (
        {"lan": "enp6s20", "lan_cidrs": ["172.16.1.0/30"]},
        [f"{ENTRY}: lan_cidrs: found 172.16.1.0/30, overlaps lan_cidrs 172.16.1.0/30 of {FIRST}"],
    ),
    (
        {"lan_cidrs": ["203.0.113.0/24"]},
        [f"{ENTRY}: lan_cidrs: found 203.0.113.0/24, contains the address 203.0.113.10 of vps1"],
    ),
    ({"wam": "enp7s5"}, [f"{ENTRY}: wam: unknown key, did you mean wan?"]),
    (
        {"colour": "red"},
        [UNKNOWN],
    ),
    (
        {"wan": None, "tun_mtu": 0, "colour": 1, "log_level": []},
        [
            UNKNOWN,
            f"{ENTRY}: wan: found None, {NAME}",
            f"{ENTRY}: tun_mtu: found 0, expected an integer from 576 to 9000",
            f"{ENTRY}: log_level: found [], expected one of debug, info, error",
        ],
    ),
]

ID = "expected an integer from 1 to 255"
IDS = [
    (0, [f"client1: mpquic_tunnels[1] (id 0): id: found 0, {ID}"]),
    (256, [f"client1: mpquic_tunnels[1] (id 256): id: found 256, {ID}"]),
    ("2", [f"client1: mpquic_tunnels[1] (id 2): id: found '2', {ID}"]),
    (True, [f"client1: mpquic_tunnels[1] (id True): id: found True, {ID}"]),
    (1, [f"client1: mpquic_tunnels[1] (id 1): id: found 1, already used by {FIRST}"]),
    ("2\n3", [f"client1: mpquic_tunnels[1] (id 2 3): id: found '2\\n3', {ID}"]),
]

KNOWN = "rate, rate_up, rate_down, metered, quota, billing_day, warn"
SOME = f"the keys {KNOWN}"
WANS = "expected a mapping of WAN interfaces such as {enp7s3: {rate: 20mbit}}"
TUNNELS = "expected a list of tunnels such as {id: 1, wan: enp7s3, lan: enp6s20}"
HOSTS = [
    ("client1", {"mpquic_wans": ["enp7s3"]}, [f"client1: mpquic_wans: found ['enp7s3'], {WANS}"]),
    (
        "client1",
        {"mpquic_wans": {"enp7s3": {"rate": "fast", "speed": 1}, "enp7 s4": {}, "enp7s5": "20mbit"}},
        [
            f"client1: mpquic_wans[enp7s3]: speed: unknown key, expected one of {KNOWN}",
            f"client1: mpquic_wans[enp7s3]: rate: found 'fast', {RATE}",
            f"client1: mpquic_wans: found 'enp7 s4', {NAME}",
            f"client1: mpquic_wans[enp7s5]: found '20mbit', expected a mapping with some of {SOME}",
        ],
    ),
    ("client1", {"mpquic_tunnels": None}, [f"client1: mpquic_tunnels: found None, {TUNNELS}"]),
    ("client1", {"mpquic_tunnels": "all"}, [f"client1: mpquic_tunnels: found 'all', {TUNNELS}"]),
    ("client1", {"mpquic_tunnels": {"id": 1}}, [f"client1: mpquic_tunnels: found {{'id': 1}}, {TUNNELS}"]),
    (
        "client1",
        {"mpquic_tunnels": [3]},
        ["client1: mpquic_tunnels[0]: found 3, expected a mapping with the keys id, wan and lan"],
    ),
    (
        "client1",
        {"mpquic_tunnels": [{}]},
        [
            "client1: mpquic_tunnels[0]: id: not set, expected the tunnel's number",
            "client1: mpquic_tunnels[0]: wan: not set, expected the interface it leaves by",
            "client1: mpquic_tunnels[0]: lan: not set, expected the interface of its LAN",
        ],
    ),
    (
        "client1",
        {"mpquic_server": "vps9"},
        ["client1: mpquic_server: found 'vps9', expected a host of the group mpquic_vps (vps1)"],
    ),
    (
        "vps1",
        {"mpquic_public_address": "203.0.113.300"},
        ["vps1: mpquic_public_address: found '203.0.113.300', expected an IPv4 address such as 203.0.113.10"],
    ),
    (
        "vps1",
        {"mpquic_public_address": "vps.example.org"},
        ["vps1: mpquic_public_address: found 'vps.example.org', expected an IPv4 address such as 203.0.113.10"],
    ),
    (
        "vps1",
        {"mpquic_bind_address": 7},
        ["vps1: mpquic_bind_address: found 7, expected an IPv4 address such as 203.0.113.10"],
    ),
]


@pytest.mark.parametrize(("values", "errors"), TUNNEL_KEYS, ids=lambda value: str(value)[:50])
def test_keys_of_a_tunnel(values, errors):
    groups, hostvars = reference()
    assert refused(groups, changed(hostvars, "client1", 1, **values)) == errors


@pytest.mark.parametrize(("value", "errors"), IDS, ids=lambda value: repr(value)[:50])
def test_ids(value, errors):
    groups, hostvars = reference()
    assert refused(groups, changed(hostvars, "client1", 1, id=value)) == errors


@pytest.mark.parametrize(("host", "values", "errors"), HOSTS, ids=lambda value: str(value)[:50])
def test_variables_of_a_host(host, values, errors):
    groups, hostvars = reference()
    assert refused(groups, changed(hostvars, host, **values)) == errors


def test_empty_groups():
    assert refused({"all": []}, {}) == [
        "group mpquic_clients: not set, expected at least one client VM",
        "group mpquic_vps: not set, expected at least one VPS",
    ]


def test_a_host_in_both_groups():
    groups, hostvars = reference()
    hostvars["client1"]["mpquic_public_address"] = "203.0.113.11"
    groups["mpquic_vps"] = ["vps1", "client1"]
    assert "client1: in both mpquic_clients and mpquic_vps, expected one of them" in refused(groups, hostvars)


def test_variables_that_are_not_there():
    groups, _ = reference()
    assert refused(groups, {"client1": {}, "vps1": {}}) == [
        (
            "vps1: mpquic_public_address: not set, expected the IPv4 address at which clients reach it, "
            "such as 203.0.113.10"
        ),
        f"client1: mpquic_tunnels: not set, {TUNNELS}",
    ]


def test_several_vps_and_no_choice():
    groups, hostvars = reference()
    groups["mpquic_vps"] = ["vps1", "vps2"]
    hostvars["vps2"] = {"mpquic_public_address": "203.0.113.20"}
    assert refused(groups, hostvars) == [
        "client1: mpquic_server: not set, expected one of the hosts of the group mpquic_vps (vps1, vps2)"
    ]


def test_two_vps_with_one_address():
    groups, hostvars = reference()
    groups["mpquic_vps"] = ["vps1", "vps2"]
    hostvars["client1"]["mpquic_server"] = "vps1"
    hostvars["vps2"] = {"mpquic_public_address": "203.0.113.10"}
    assert refused(groups, hostvars) == ["vps2: mpquic_public_address: found 203.0.113.10, already the address of vps1"]


def test_two_clients_of_one_vps():
    groups, hostvars = reference()
    groups["mpquic_clients"].append("client2")
    hostvars["client2"] = {
        "mpquic_tunnels": [
            {"id": 2, "wan": "eth0", "lan": "eth1"},
            {"id": 8, "wan": "eth0", "lan": "eth2", "port": 45003, "lan_cidrs": ["172.16.1.0/24"]},
        ]
    }
    other = "client2: mpquic_tunnels[1] (id 8)"
    assert refused(groups, hostvars) == [
        f"client2: mpquic_tunnels[0] (id 2): id: found 2, already used by {ENTRY}",
        f"{other}: port: found 45003, already used by client1: mpquic_tunnels[2] (id 3)",
        f"{other}: lan_cidrs: found 172.16.1.0/24, overlaps lan_cidrs 172.16.1.0/30 of {FIRST}",
    ]


def test_clients_of_different_vps_may_use_the_same_numbers():
    groups, hostvars = reference()
    groups = {"mpquic_clients": ["client1", "client2"], "mpquic_vps": ["vps1", "vps2"]}
    hostvars["vps2"] = {"mpquic_public_address": "203.0.113.20"}
    hostvars["client2"] = hostvars["client1"] | {"mpquic_server": "vps2"}
    hostvars["client1"]["mpquic_server"] = "vps1"
    hosts = plan_of(groups, hostvars)
    assert hosts["vps1"]["instances"][0]["id"] == hosts["vps2"]["instances"][0]["id"] == 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1.2.3.4", "10.0.0.0/8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "id",
    "wan",
    "lan",
    "lan_cidrs",
    "port",
    "tun_cidr",
    "tun_cidr6",
    "tun_name",
    "tun_mtu",
    "log_level",
    "table",
    "priority",
]
KEYS += ["rate", "rate_up", "rate_down", "budget_rate", "budget_packets"]


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites(min_tunnels=1), st.sampled_from(KEYS), JUNK)
def test_no_junk_raises(site, key, junk):
    groups, hostvars = site
    for client in groups["mpquic_clients"]:
        for entry in hostvars[client]["mpquic_tunnels"]:
            entry[key] = junk
    verdict(groups, hostvars)


@settings(deadline=None)  # a busy machine is no error of the planner
@given(JUNK, JUNK, JUNK, JUNK)
def test_no_junk_variable_raises(tunnels, server, address, wans):
    groups, _ = reference()
    hostvars = {
        "client1": {"mpquic_tunnels": tunnels, "mpquic_server": server, "mpquic_wans": wans},
        "vps1": {"mpquic_public_address": address},
    }
    plan = site_plan(groups, hostvars)
    assert all("\n" not in line for line in plan["errors"])


TRUST = ["mpquic_ca_file", "mpquic_certificate_file", "mpquic_legacy_from", "mpquic_legacy_pin"]


@settings(deadline=None)  # a busy machine is no error of the planner
@given(st.dictionaries(st.sampled_from(TRUST), JUNK), st.dictionaries(st.sampled_from(TRUST), JUNK))
def test_no_junk_in_what_hosts_are_known_by_raises(client, server):
    groups, hostvars = reference()
    verdict(groups, changed(changed(hostvars, "client1", **client), "vps1", **server))


def test_an_entry_with_an_unknown_key_is_compared_with_others():
    groups, hostvars = reference()
    assert refused(groups, changed(hostvars, "client1", 1, colour="red", port=45001)) == [
        UNKNOWN,
        f"{ENTRY}: port: found 45001, already used by {FIRST}",
    ]
