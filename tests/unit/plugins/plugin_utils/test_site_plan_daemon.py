# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner plans, the daemon takes."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._peer_pins import peer_pins
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from mpquic.config import load
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


@pytest.mark.parametrize(("client", "server", "warned"), SITES.values(), ids=SITES)
def test_every_instance_is_taken(client, server, warned, identity, tmp_path):
    groups, hostvars = reference()
    hostvars = changed(changed(hostvars, "client1", **client), "vps1", **server)
    hostvars = changed(hostvars, "client1", 0, budget_rate="1.5gbit", budget_packets=50000, rate="20mbit")
    plan = site_plan(groups, hostvars)
    assert plan["errors"] == []
    count = 0
    for host in plan["hosts"].values():
        for instance in peer_pins(host["instances"], {"client1": [PIN, PIN.replace("ab", "cd")]}):
            config = {"tls_server_pin": [PIN], **instance["config"]} if host["role"] == "client" else instance["config"]
            config |= {key: str(identity / name) for key, name in FILES.items() if key in config}
            path = tmp_path / f"{instance['id']}.yaml"
            path.write_text(yaml.safe_dump(config, sort_keys=False))
            loaded, warnings = load(path)
            assert bool(warnings) == warned, warnings
            assert bool(loaded.peers) == (host["role"] == "server" and "mpquic_legacy_from" not in client)
            count += 1
    assert count == (6 if warned else 12)
