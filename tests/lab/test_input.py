# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong input: one line that names what is wrong, where, and what was expected; nothing done."""

import pytest
from conftest import NAME, Lab, write_topology

pytestmark = pytest.mark.lab

WRONG = {
    "unknown key": ({"hosts:\n": "colour: red\nhosts:\n"}, "colour: unknown key, expected one of"),
    "not a name": ({f"name: {NAME} ": "name: My_Lab "}, "name: expected 1 to 8 small letters and digits"),
    "bad network": ({"lan3: 172.16.3.0/30": "lan3: 172.16.3.1/30"}, "lans.lan3: expected an IPv4 network"),
    "no IPv6 network": ({"fd00:5::/64": "fd00:5::1/64"}, "lans.lan5: expected an IPv6 network of /16 to /64"),
    "too small": ({"100.64.2.0/24": "100.64.2.0/30"}, "wans.wan2.network: expected an IPv4 network of /8 to /28"),
    "bad address": ({"server: 192.0.2.80": "server: here"}, "internet.server: expected an IPv4 address"),
    "missing": ({"isp: isp4, ": ""}, "wans.wan4.isp: missing"),
    "range": ({"rate_up: 20": "rate_up: -1"}, "wans.wan1.rate_up: expected a number from 0 to 10000, found -1"),
    "mtu": ({"mtu: 1420": "mtu: 1200"}, "wans.wan3.mtu: expected a number from 1280 to 1500, found 1200"),
    "no such end": ({"enp7s3: wan1": "enp7s3: wan9"}, "hosts.client1.nics.enp7s3: expected the name of a WAN"),
    "end twice": ({"enp7s4: wan2": "enp7s4: wan1"}, "hosts.client1.nics.enp7s4: wan1 is already the end of"),
    "nic name": ({"enp7s3: wan1": "enp7s3toolonganame: wan1"}, "expected a NIC's name of 1 to 15 characters"),
    "template": ({"site/rt_tables}": "site/nothing}"}, "hosts.client1.files[3].template:"),
    "each": ({"each: lan": "each: nic"}, "hosts.client1.files[1].each: expected one of wan, lan, subnet"),
    "overlap": ({"lan2: 172.16.2.0/30": "lan2: 172.16.1.0/24"}, "the networks of lan1"),
    "same isp": ({"isp: isp2": "isp: isp1"}, "isp1: two hosts, ISPs, LANs or subnets have this name"),
    "same address": (
        {"public: 198.51.100.2": "public: 198.51.100.1"},
        "198.51.100.1 is already the address of wans.wan1",
    ),
    "management": (
        {"management: 198.18.97.12": "management: 198.18.98.12"},
        "hosts.vps1.management: expected an address",
    ),
    "not YAML": ({"hosts:\n": "hosts: [\n"}, "not YAML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_topology_is_refused(tmp_path, case):
    changes, text = WRONG[case]
    path = write_topology(tmp_path, **changes)
    done = Lab(path).run("up", check=False)
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr.startswith(f"lab: {path}: ")
    assert done.stderr.count("\n") == 1
    assert text in done.stderr


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["fly"], 64, "invalid choice: 'fly'"),
        (["impair", "wan1", "colour=1"], 64, "colour: unknown key, expected one of rate_up"),
        (["impair", "wan1", "loss=101"], 64, "loss: expected a number from 0 to 100, found 101"),
        (["impair", "wan1", "loss=nan"], 64, "loss: expected a number from 0 to 100, found nan"),
        (["impair", "wan1", "loss"], 64, "expected KEY=NUMBER, found 'loss'"),
        (["cut", "wan9"], 1, "wan9: no such WAN, expected one of wan1, wan2"),
        (["exec", "mars", "true"], 1, "mars: no such place, expected one of client1"),
        (["crash", "lan1"], 1, "lan1: no such host, expected one of client1, vps1"),
    ],
)
def test_a_wrong_command_is_refused(lab, argv, code, text):
    done = lab.run(*argv, check=False)
    assert done.returncode == code
    assert done.stderr.startswith("lab: ")
    assert done.stderr.count("\n") == 1
    assert text in done.stderr


def test_a_changed_topology_asks_for_down_first(lab, tmp_path):
    other = Lab(write_topology(tmp_path, **{"rate_up: 20": "rate_up: 21"}))
    done = other.run("up", check=False)
    assert done.returncode == 1
    assert done.stderr == f"lab: {NAME} was brought up from another topology: run down, then up\n"


def test_two_labs_do_not_share_a_management_network(lab, tmp_path):
    other = Lab(write_topology(tmp_path, **{f"name: {NAME} ": "name: labtwo "}))
    done = other.run("up", check=False)
    assert done.returncode == 1
    assert done.stderr == f"lab: management network 198.18.97.0/24: already used on this machine by {NAME}-br\n"
