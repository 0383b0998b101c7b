# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order the instances of a site go over to another release."""

from __future__ import annotations

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._handover_steps import handover_steps
from class_sites import classified
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import reference, sites
from verdicts import plan_of


def everything(hosts):
    return {name: [str(i["id"]) for i in part["instances"]] for name, part in hosts.items()}


def test_tunnel_by_tunnel_and_the_vps_first():
    hosts = plan_of(*reference())
    steps = handover_steps(hosts, everything(hosts))
    assert steps == [{host: [str(i)]} for i in range(1, 7) for host in ("vps1", "client1")]


def test_classes_share_the_turn_of_the_first_of_them():
    hosts = plan_of(*classified())
    steps = handover_steps(hosts, everything(hosts))
    assert steps[12:] == [{"vps1": ["mt1"]}, {"client1": ["cr5"]}, {"client1": ["df5"]}, {"client1": ["bk5"]}]


def test_only_what_is_behind():
    hosts = plan_of(*reference())
    assert handover_steps(hosts, {"client1": ["4"], "vps1": ["4", "9"]}) == [{"vps1": ["4", "9"]}, {"client1": ["4"]}]
    assert handover_steps(hosts, {"client1": [], "vps1": []}) == []
    assert handover_steps(hosts, {"vps1": ["2"]}) == [{"vps1": ["2"]}]


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites(min_tunnels=1), st.data())
def test_each_goes_once_and_a_client_one_by_one(site, data):
    hosts = plan_of(*site)
    behind = {
        name: data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
        for name, ids in everything(hosts).items()
    }
    steps = handover_steps(hosts, behind)
    for name, ids in behind.items():
        gone = [step[name] for step in steps if name in step]
        assert sorted(id_ for ids_ in gone for id_ in ids_) == sorted(ids)
        if hosts[name]["role"] == "client":
            assert all(len(step) == 1 for step in gone)
