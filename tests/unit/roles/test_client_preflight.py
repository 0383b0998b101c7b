# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client role says of interfaces that a host does not have, as Ansible renders it."""

from __future__ import annotations

from pathlib import Path

import jinja2
import yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan

TASKS = Path(__file__).resolve().parents[3] / "roles" / "client" / "tasks" / "preflight.yml"


def missing(variables, interfaces):
    groups = {"mpquic_clients": ["client1"], "mpquic_vps": ["vps1"]}
    plan = site_plan(groups, {"client1": variables, "vps1": {"mpquic_public_address": "203.0.113.10"}})
    assert plan["errors"] == []
    (text,) = (task["vars"]["client_missing"] for task in yaml.safe_load(TASKS.read_text()) if "assert" in str(task))
    environment = jinja2.Environment(trim_blocks=True, autoescape=False, undefined=jinja2.ChainableUndefined)
    rendered = environment.from_string(text).render(
        inventory_hostname="client1",
        client_instances=plan["hosts"]["client1"]["instances"],
        ansible_facts={"interfaces": interfaces},
    )
    return rendered.strip().splitlines()


def test_a_missing_wan_is_named_by_its_path():
    tunnel = {
        "id": 1,
        "lan": "lan1",
        "lan_cidrs": ["172.16.1.0/30"],
        "paths": [{"wan": "wan1"}, {"wan": "wan2"}, {"wan": "wan3"}],
    }
    expected = "expected an interface of this host"
    assert missing({"mpquic_multipath_tunnels": [tunnel]}, ["wan1", "lan1"]) == [
        f"client1: mpquic_multipath_tunnels (mp1): paths[1]: wan: found 'wan2', {expected}",
        f"client1: mpquic_multipath_tunnels (mp1): paths[2]: wan: found 'wan3', {expected}",
    ]
    assert missing({"mpquic_tunnels": [{"id": 3, "wan": "wan1", "lan": "lan1"}]}, []) == [
        f"client1: mpquic_tunnels (id 3): wan: found 'wan1', {expected}",
        f"client1: mpquic_tunnels (id 3): lan: found 'lan1', {expected}",
    ]
