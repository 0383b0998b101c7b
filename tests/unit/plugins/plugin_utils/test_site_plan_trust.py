# SPDX-License-Identifier: GPL-3.0-or-later
"""By what the two ends of a tunnel know each other: keys, a CA, or the rules for the Go implementation."""

from __future__ import annotations

import pytest
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._peer_pins import peer_pins
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from sites import changed, reference
from verdicts import plan_of, refused

PIN = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
ALLOWED = ["10.200.1.1/32", "172.16.1.0/30"]
CA = {"mpquic_ca_file": "/pki/ca.pem"}


def first(hosts, host):
    return hosts[host]["instances"][0]["config"]


def certified():
    groups, hostvars = reference()
    for host in hostvars:
        hostvars[host] |= CA | {"mpquic_certificate_file": f"/pki/{host}.pem"}
    return groups, hostvars


def test_a_tunnel_may_have_a_budget():
    groups, hostvars = reference()
    hosts = plan_of(groups, changed(hostvars, "client1", 0, budget_rate="500mbit", budget_packets=50000))
    assert first(hosts, "vps1")["peers"] == [
        {"name": "client1", "allowed": ALLOWED, "budget_rate": "500mbit", "budget_packets": 50000}
    ]
    assert "budget_rate" not in hosts["vps1"]["instances"][1]["config"]["peers"][0]
    assert "budget_rate" not in first(hosts, "client1")


def test_a_ca_takes_the_place_of_keys():
    hosts = plan_of(*certified())
    assert first(hosts, "vps1")["peers"] == [{"name": "client1", "cert_names": ["client1"], "allowed": ALLOWED}]
    assert first(hosts, "client1")["tls_server_name"] == "vps1"
    for host in ("client1", "vps1"):
        assert first(hosts, host)["tls_ca_file"] == "/etc/mpquic/ca.pem"
        assert hosts[host]["peers"] == [], "no key of another host is needed"


def test_a_ca_vouches_for_all_hosts_or_none():
    groups, hostvars = certified()
    del hostvars["vps1"]["mpquic_ca_file"], hostvars["client1"]["mpquic_certificate_file"]
    assert refused(groups, hostvars) == [
        (
            "client1: mpquic_certificate_file: not set, expected the certificate that the CA issued for it"
            " (playbooks/requests.yml)"
        ),
        "vps1: mpquic_ca_file: not set, expected the CA's certificate as for client1: all hosts have one or none",
    ]


def test_a_certificate_without_a_ca_is_mentioned():
    groups, hostvars = reference()
    plan = site_plan(groups, changed(hostvars, "vps1", mpquic_certificate_file="/pki/vps1.pem"))
    assert (plan["errors"], plan["warnings"]) == (
        [],
        ["vps1: mpquic_certificate_file: not used without mpquic_ca_file"],
    )


@pytest.mark.parametrize("value", ["pki/ca.pem", "", None, 7, ["/pki/ca.pem"], "/pki/\0"])
@pytest.mark.parametrize("name", ["mpquic_ca_file", "mpquic_certificate_file"])
def test_files_on_the_controller_have_absolute_paths(name, value):
    groups, hostvars = certified()
    (error,) = refused(groups, changed(hostvars, "vps1", **{name: value}))
    assert error.startswith(f"vps1: {name}: found ")
    assert error.endswith("expected an absolute path on the controller such as {{ inventory_dir }}/pki/ca.pem")


@pytest.mark.parametrize("name", ["client 1", "c" * 65, "münchen"])
def test_a_client_is_called_by_a_name_that_the_daemon_takes(name):
    groups, hostvars = reference()
    groups["mpquic_clients"] = [name]
    hostvars[name] = hostvars.pop("client1")
    (error,) = refused(groups, hostvars)
    assert error.endswith("expected 1 to 64 letters, digits, . _ - for a client")


@pytest.mark.parametrize("name", ["203.0.113.10", "-vps", "vps..1", "v" * 64])
def test_a_certified_host_has_a_dns_name(name):
    groups, hostvars = certified()
    groups["mpquic_vps"] = [name]
    hostvars[name] = hostvars.pop("vps1")
    assert refused(groups, hostvars)[0].endswith("expected a DNS name, as it stands in the host's certificate")


def test_a_client_that_still_runs_the_go_implementation():
    groups, hostvars = reference()
    hosts = plan_of(groups, changed(hostvars, "client1", mpquic_legacy_from=["198.51.100.0/24"]))
    assert (hosts["client1"]["legacy"], hosts["client1"]["instances"]) == (True, [])
    config = first(hosts, "vps1")
    assert config["legacy_peers"] == [
        {"name": "client1", "address": "10.200.1.1", "from": ["198.51.100.0/24"], "allowed": ["172.16.1.0/30"]}
    ]
    assert "peers" not in config
    assert hosts["vps1"]["peers"] == []
    assert (config["tun_cidr"], config["remote_port"]) == ("10.200.1.2/30", 45001)


@pytest.mark.parametrize("site", [reference, certified])
def test_a_vps_that_still_runs_the_go_implementation(site):
    groups, hostvars = site()
    hosts = plan_of(groups, changed(hostvars, "vps1", mpquic_legacy_pin=PIN.upper().replace("SHA", "sha")))
    assert (hosts["vps1"]["legacy"], hosts["vps1"]["instances"]) == (True, [])
    config = first(hosts, "client1")
    assert (config["legacy_server"], config["tls_server_pin"]) == (True, [PIN])
    # Its own certificate is not of the site's CA.
    assert not {"tls_ca_file", "tls_server_name"} & set(config)
    assert hosts["client1"]["peers"] == []


def test_one_end_is_ours():
    groups, hostvars = reference()
    hostvars = changed(hostvars, "client1", mpquic_legacy_from=["198.51.100.0/24"])
    assert refused(groups, changed(hostvars, "vps1", mpquic_legacy_pin=[PIN, OTHER])) == [
        ("client1: mpquic_legacy_from: its VPS vps1 has mpquic_legacy_pin, expected one end that runs this collection")
    ]


@pytest.mark.parametrize(
    ("host", "name", "value", "error"),
    [
        ("client1", "mpquic_legacy_from", "198.51.100.0/24", "expected a list of at least one network"),
        ("client1", "mpquic_legacy_from", [], "expected a list of at least one network"),
        ("client1", "mpquic_legacy_from", ["198.51.100.1/24"], "expected a network without host bits"),
        ("client1", "mpquic_legacy_from", ["0.0.0.0/0"], "expected an IPv4 network of /8 to /32"),
        ("vps1", "mpquic_legacy_pin", "sha256:00", "expected sha256: and 64 hex digits"),
        ("vps1", "mpquic_legacy_pin", [], "expected sha256: and 64 hex digits"),
        ("vps1", "mpquic_legacy_pin", [PIN, 7], "expected sha256: and 64 hex digits"),
    ],
)
def test_bad_values_of_old_ends(host, name, value, error):
    groups, hostvars = reference()
    (found,) = refused(groups, changed(hostvars, host, **{name: value}))
    assert found.startswith(f"{host}: {name}")
    assert error in found


def two_clients():
    groups, hostvars = reference()
    groups["mpquic_clients"].append("client2")
    hostvars["client2"] = {"mpquic_tunnels": [{"id": 7, "wan": "eth0", "lan": "eth1"}]}
    return plan_of(groups, hostvars)["vps1"]["instances"]


def test_pins_come_beside_the_names():
    instances = peer_pins(two_clients(), {"client1": [PIN, OTHER], "client2": [OTHER]})
    assert list(instances[0]["config"]["peers"][0]) == ["name", "pins", "allowed"]
    assert [i["config"]["peers"][0]["pins"] for i in instances] == [[PIN, OTHER]] * 6 + [[OTHER]]
    assert [list(i["config"]) for i in instances] == [list(i["config"]) for i in two_clients()]


@pytest.mark.parametrize("pins", [{"client1": [PIN]}, {"client1": [PIN], "client2": []}])
def test_who_has_no_known_key_is_not_let_in(pins):
    instances = peer_pins(two_clients(), pins)
    assert [len(i["config"]["peers"]) for i in instances] == [1] * 6 + [0]


def test_certified_and_old_peers_need_no_pins():
    groups, hostvars = certified()
    for site in (hostvars, changed(hostvars, "client1", mpquic_legacy_from=["198.51.100.0/24"])):
        instances = plan_of(groups, site)["vps1"]["instances"]
        assert peer_pins(instances, {}) == instances
