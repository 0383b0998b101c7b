# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner plans, the daemon takes."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._peer_pins import peer_pins
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from class_sites import BK, CR, DF, MARKED, WAN5, classified, link, many
from mpquic.config import between, load
from multipath_sites import DATAPLANE, PATHS, multipath, tunnel
from sites import changed, reference

PIN = "sha256:" + "ab" * 32
FILES = {"tls_cert_file": "cert.pem", "tls_key_file": "key.pem", "tls_ca_file": "cert.pem"}


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """Make a key and a certificate in the place of those on the hosts."""
    folder = tmp_path_factory.mktemp("identity")
    command = "openssl req -x509 -newkey ed25519 -nodes -keyout key.pem -out cert.pem -subj /CN=test"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    (folder / "key.pem").chmod(0o600)
    return folder


CA = {"mpquic_ca_file": "/ca.pem", "mpquic_certificate_file": "/host.pem"}
SITES = {
    "keys": ({}, {}, False),
    "a CA": (CA, CA, False),
    "an old client": ({"mpquic_legacy_from": ["198.51.100.0/24"]}, {}, True),
    "an old VPS": ({}, {"mpquic_legacy_pin": PIN}, True),
}


def loaded(plan, identity, folder):
    """Write every instance as the roles do, load it as the daemon does, and yield it after its host's part."""
    assert plan["errors"] == []
    for host in plan["hosts"].values():
        found = []
        known = {client: [PIN, PIN.replace("ab", "cd")] for client in host.get("clients", [])}
        for instance in peer_pins(host["instances"], known):
            config = {"tls_server_pin": [PIN], **instance["config"]} if host["role"] == "client" else instance["config"]
            config |= {key: str(identity / name) for key, name in FILES.items() if key in config}
            path = folder / f"{instance['id']}.yaml"
            path.write_text(yaml.safe_dump(config, sort_keys=False))
            taken, warnings = load(path)
            found.append((path.name, taken))
            yield host, taken, warnings
        assert list(between(found)) == []


@pytest.mark.parametrize(("client", "server", "warned"), SITES.values(), ids=SITES)
def test_every_instance_is_taken(client, server, warned, identity, tmp_path):
    groups, hostvars = reference()
    hostvars = changed(changed(hostvars, "client1", **client), "vps1", **server)
    hostvars = changed(hostvars, "client1", 0, budget_rate="1.5gbit", budget_packets=50000, rate="20mbit")
    hostvars = changed(hostvars, "client1", 1, lan_cidrs=["fd00:2::/64", "172.16.2.0/30"])
    count = 0
    for host, config, warnings in loaded(site_plan(groups, hostvars), identity, tmp_path):
        assert bool(warnings) == warned, warnings
        assert bool(config.peers) == (host["role"] == "server" and "mpquic_legacy_from" not in client)
        count += 1
    assert count == (6 if warned else 12)


BOTH_FAMILIES = {"name": "enp7s9", "cidrs": ["192.168.9.0/24", "fd00:9::/64"]}
# With how many instances on clients and on the VPS.
CLASS_SITES = {
    "the reference": (classified(), 9, 7),
    "shaped": (classified(link(classes=MARKED), mpquic_wans=WAN5), 9, 7),
    "DSCP": (classified(link(classes=[DF, CR | {"outer_dscp": "copy"}, BK | {"outer_dscp": "af43"}])), 9, 7),
    "IPv6": (classified(link(lans=[BOTH_FAMILIES])), 9, 7),
    "two links": (classified(link(), link(id=25, wan="enp7s8", budget_rate="1gbit")), 12, 8),
    "two clients": (many(2), 6, 1),
}


@pytest.mark.parametrize(("site", "near", "far"), CLASS_SITES.values(), ids=CLASS_SITES)
@pytest.mark.parametrize(("client", "server", "warned"), SITES.values(), ids=SITES)
def test_every_class_is_taken(site, near, far, client, server, warned, identity, tmp_path):
    groups, hostvars = site
    for host in hostvars:
        hostvars = changed(hostvars, host, **(client if host in groups["mpquic_clients"] else server))
    counts = {"client": 0, "server": 0}
    for host, config, warnings in loaded(site_plan(groups, hostvars), identity, tmp_path):
        assert bool(warnings) == warned, warnings
        counts[host["role"]] += 1
        if config.multi_conn_enabled:
            assert len(config.peers + config.legacy_peers) == 3 * len(groups["mpquic_clients"])
    assert counts == {
        "client": 0 if "mpquic_legacy_from" in client else near,
        "server": 0 if "mpquic_legacy_pin" in server else far,
    }


def test_classes_without_nat_are_taken(identity, tmp_path):
    classes = [CR | {"nat": False}, DF, BK | {"nat": False}]
    plan = site_plan(*classified(link(lans=[BOTH_FAMILIES], classes=classes)))
    taken = {config.instance_id: config for _host, config, _ in loaded(plan, identity, tmp_path)}
    assert [len(peer.shared) for peer in taken["mt1"].peers] == [0, 2, 2]
    assert [len(taken[name].lan_routing.cidrs) for name in ("cr5", "df5", "bk5", "mt1")] == [2, 0, 2, 2]


LAN6 = ["172.16.6.0/30", "fd00:6::/64"]
MULTIPATH_SITES = {
    "paths alone": tunnel(),
    "IPv6, rates, several connections": tunnel(
        lan_cidrs=LAN6, paths=[{**PATHS[0], "rate": "20mbit", "connections": 3}]
    ),
    "a dataplane": tunnel(policy="balanced", dataplane=DATAPLANE, telemetry_interval=0, budget_rate="1gbit"),
    "a metered path": tunnel(paths=[PATHS[0], {**PATHS[1], "metered": True, "ping_interval": 20}]),
    "one class": tunnel(dataplane={"classes": {"all": {"duplicate": True, "duplicate_copies": 3}}}),
}


@pytest.mark.parametrize("entry", MULTIPATH_SITES.values(), ids=MULTIPATH_SITES)
@pytest.mark.parametrize("trust", [{}, CA], ids=["keys", "a CA"])
def test_multipath_tunnels_are_taken(entry, trust, identity, tmp_path):
    groups, hostvars = multipath(entry)
    hostvars = changed(changed(hostvars, "client1", **trust), "vps1", **trust)
    taken = {}
    for host, config, warnings in loaded(site_plan(groups, hostvars), identity, tmp_path):
        assert not warnings
        taken[host["role"], config.instance_id] = config
    assert len(taken) == 12
    client, server = taken["client", "mp1"], taken["server", "mp1"]
    assert server.multipath is None
    assert [path.name for path in client.multipath.paths] == [path["wan"] for path in entry["paths"]]
    assert {path.bind_ip.interface for path in client.multipath.paths} == {path["wan"] for path in entry["paths"]}
    wanted = entry.get("dataplane", {"classes": {"default": {}}})
    assert list(client.multipath.dataplane.classes) == list(wanted["classes"])
    assert len(client.multipath.dataplane.classifiers) == len(wanted.get("classifiers", []))
