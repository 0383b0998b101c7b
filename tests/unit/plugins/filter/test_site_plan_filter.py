# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter as Ansible finds and calls it."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mpquic.tunnel.plugins.filter import site_plan as face


def test_it_returns_the_plan():
    site_plan = face.FilterModule().filters()["site_plan"]
    assert site_plan({}, {})["errors"][0].startswith("group mpquic_clients")


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(face, "MISSING", ImportError("No module named 'netaddr'", name="netaddr"))
    site_plan = face.FilterModule().filters()["site_plan"]
    with pytest.raises(AnsibleFilterError, match="needs the Python package netaddr on the controller"):
        site_plan({}, {})


class Asked(dict):
    """Variables of hosts, as Ansible has them: each time that they are asked for costs something."""

    def __init__(self, found):
        super().__init__(found)
        self.hosts = []

    def __getitem__(self, host):
        self.hosts.append(host)
        return super().__getitem__(host)


class Text(str):
    """A text with a mark of Ansible's."""

    __slots__ = ()


def test_each_host_is_asked_once_and_only_for_what_is_ours():
    address = Text("203.0.113.10")
    tunnels = ({Text("id"): 1, "wan": Text("enp7s3"), "lan": Text("lan1")},)
    hostvars = Asked(
        {
            "client1": {"mpquic_tunnels": tunnels, "mpquic_tunels": 1, "other": 1},
            "vps1": {"mpquic_public_address": address},
        }
    )
    site_plan = face.FilterModule().filters()["site_plan"]
    plan = site_plan({"mpquic_clients": ["client1"], "mpquic_vps": ["vps1"]}, hostvars)
    assert plan["errors"] == []
    assert "did you mean mpquic_tunnels?" in plan["warnings"][0]
    assert hostvars.hosts == ["client1", "vps1"]
    assert type(plan["hosts"]["client1"]["instances"][0]["config"]["bind_ip"]) is str
