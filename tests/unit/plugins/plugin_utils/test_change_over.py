# SPDX-License-Identifier: GPL-3.0-or-later
"""From what hosts run to what is planned: every step can be on a host, and the last is the plan."""

from __future__ import annotations

import base64
import copy
import ipaddress

import pytest
import yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over.client import guarded, switch
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over.running import running_instances
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over.server import serve, union
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over.values import clash
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from hypothesis import given, settings
from sites import changed, reference, sites

MULTIPATH = {
    "id": 1,
    "lan": "enp7s2",
    "lan_cidrs": ["172.16.6.0/30"],
    "paths": [{"wan": "enp7s3"}, {"wan": "enp7s4"}],
}


def plan(groups, hostvars):
    """Return the hosts of a plan without errors."""
    found = site_plan(groups, hostvars)
    assert found["errors"] == []
    return found["hosts"]


def running(*lists):
    """Return instances as a host runs them, after files of these lists were written one after the other."""
    return {str(item["id"]): {"config": copy.deepcopy(item["config"])} for items in lists for item in items}


def by_id(items):
    return {str(item["id"]): item["config"] for item in items}


def moved():
    """Return the plans before and after LAN 6 moves from tunnel 6 to a multipath tunnel."""
    groups, before = reference()
    after = copy.deepcopy(before)
    after["client1"]["mpquic_tunnels"].pop()
    after["client1"]["mpquic_multipath_tunnels"] = [MULTIPATH]
    return plan(groups, before), plan(groups, after)


def port_and_cidr():
    groups, before = reference()
    after = changed(before, "client1", 3, port=46004, tun_cidr="10.99.4.0/30")
    return plan(groups, before), plan(groups, after)


def test_what_the_vps_has_already_needs_one_pass():
    hosts = plan(*reference())
    found = serve(hosts["vps1"]["instances"], running(hosts["vps1"]["instances"]), None)
    assert found == {
        "instances": hosts["vps1"]["instances"], "demoted": [], "kept": [], "stale": [], "left": False
    }  # fmt: skip


def test_old_port_and_addresses_are_served_beside_the_new_until_the_client_has_changed():
    before, after = port_and_cidr()
    planned, old = after["vps1"]["instances"], running(before["vps1"]["instances"])
    found = serve(planned, old, None)
    four = by_id(found["instances"])["4"]
    assert (four["remote_port"], four["tun_cidr"]) == (46004, "10.99.4.2/30")
    assert four["also"] == {"ports": [45004], "tun_cidrs": ["10.200.4.2/30"]}
    assert four["peers"][0]["allowed"] == ["10.99.4.1/32", "172.16.4.0/30", "10.200.4.1/32"]
    assert found["left"]
    assert [item for item in found["instances"] if item["id"] != 4] == [item for item in planned if item["id"] != 4]

    old = running(found["instances"])
    waiting = serve(planned, old, ["client1"])
    assert (waiting["instances"], waiting["left"]) == (found["instances"], True)
    final = serve(planned, old, ["client10"])
    assert (final["instances"], final["left"]) == (planned, False)


def test_ports_that_tunnels_swap_are_served_once():
    groups, before = reference()
    after = changed(changed(before, "client1", 0, port=45002), "client1", 1, port=45001)
    found = serve(plan(groups, after)["vps1"]["instances"], running(plan(groups, before)["vps1"]["instances"]), None)
    assert (found["instances"], found["left"]) == (plan(groups, after)["vps1"]["instances"], False)


def test_the_routes_of_a_lan_that_moves_follow_last():
    before, after = moved()
    old = running(before["vps1"]["instances"])
    first = serve(after["vps1"]["instances"], old, None)
    assert by_id(first["instances"])["mp1"]["lan_routing"] == {"cidrs": ["172.16.6.0/30"], "standby": True}
    assert (first["demoted"], first["kept"], first["stale"]) == ([], ["6"], [])
    nft = union(after["vps1"]["nft"], first["instances"], [old["6"]["config"]])
    assert "mpq6" in nft["tuns"]
    assert "10.200.6.0/30" in nft["masquerade"]
    old |= running(first["instances"])
    last = serve(after["vps1"]["instances"], old, [])
    assert last["instances"] == after["vps1"]["instances"]
    assert [(item["id"], item["config"]["lan_routing"]["standby"]) for item in last["demoted"]] == [("6", True)]
    assert (last["kept"], last["stale"]) == ([], ["6"])


def test_a_tunnel_that_takes_over_a_lan_stands_by_until_it_is_up():
    before, after = moved()
    planned, old = after["client1"]["instances"], running(before["client1"]["instances"])
    found = switch(planned, old)
    assert (found["standby"], found["kept"], found["first"]["demoted"]) == (["mp1"], ["6"], [])
    assert by_id(found["first"]["instances"])["mp1"]["lan_routing"]["standby"]
    assert found["then"]["instances"] == planned
    assert by_id(found["then"]["demoted"])["6"]["lan_routing"]["standby"]
    (guard,) = (
        guard for guard in guarded(after["client1"]["nft"], [old["6"]["config"]])["guards"]
        if guard["interface"] == "enp7s2"
    )  # fmt: skip
    assert guard["tuns"] == ["mp1", "mpq6"]
    # A run that died here is repeated: nothing else is to be waited for.
    again = switch(planned, running(before["client1"]["instances"], found["then"]["demoted"], planned))
    assert (again["standby"], again["kept"]) == ([], ["6"])
    # And one that died before.
    again = switch(planned, running(before["client1"]["instances"], found["first"]["instances"]))
    assert again["standby"] == ["mp1"]


def test_a_tunnel_that_runs_takes_a_lan_over_at_once():
    groups, before = reference()
    after = changed(before, "client1", 4, lan_cidrs=["172.16.5.0/30", "172.16.6.0/30"])
    after["client1"]["mpquic_tunnels"].pop()
    found = switch(plan(groups, after)["client1"]["instances"], running(plan(groups, before)["client1"]["instances"]))
    assert (found["standby"], found["kept"]) == ([], ["6"])
    assert by_id(found["first"]["demoted"])["6"]["lan_routing"]["standby"]


def test_what_takes_the_name_of_another_replaces_it():
    groups, before = reference()
    after = copy.deepcopy(before)
    after["client1"]["mpquic_tunnels"][5] |= {"id": 7, "tun_name": "mpq6", "lan_cidrs": ["172.16.6.0/30"]}
    for host, decide in (("client1", switch), ("vps1", lambda p, o: serve(p, o, None))):
        found = decide(plan(groups, after)[host]["instances"], running(plan(groups, before)[host]["instances"]))
        assert found["kept"] == []


def contradictions(files):
    """Yield pairs of files that no host may have at once."""
    items = list(files.items())
    for index, (name, one) in enumerate(items):
        for other_name, other in items[:index]:
            lans = [
                [ipaddress.ip_network(p) for p in config.get("lan_routing", {}).get("cidrs", [])]
                if not config.get("lan_routing", {}).get("standby")
                else []
                for config in (one, other)
            ]
            same = any(a.version == b.version and a.overlaps(b) for a in lans[0] for b in lans[1])
            if clash(one, other) or same:
                yield name, other_name


@settings(deadline=None)  # a busy machine is no error of the planner
@given(sites(), sites())
def test_every_step_between_any_two_sites_can_be_on_a_host(one, other):
    first, second = plan(*one), plan(*other)
    for host in first.keys() & second.keys():
        if first[host]["role"] != second[host]["role"]:
            continue
        planned, old = second[host]["instances"], running(first[host]["instances"])
        if second[host]["role"] == "server":
            steps = [
                lambda old, planned=planned, waiting=waiting: serve(planned, old, waiting) for waiting in (None, [])
            ]
        else:
            steps = [
                lambda old, planned=planned, step=step: {**switch(planned, old), **switch(planned, old)[step]}
                for step in ("first", "then")
            ]
        for step in steps:
            found = step(old)
            stay = {*found["kept"], *found.get("stale", ()), *by_id(found["instances"]), *by_id(found["demoted"])}
            old = {name: item for name, item in old.items() if name in stay}
            old |= running(found["instances"], found["demoted"])
            assert list(contradictions({name: item["config"] for name, item in old.items()})) == []
        assert [item["config"] for item in found["instances"]] == [item["config"] for item in planned]


def test_files_are_read_as_they_are():
    text = base64.b64encode(b"role: client\n").decode()
    found = running_instances([f"4 640:root:mpquic,640:root:mpquic {text} {text}", "5 640:root:mpquic - e30K"])
    assert found["4"] == {
        "config": {"role": "client"}, "yaml": "role: client\n", "env": "role: client\n",
        "mode": "640:root:mpquic,640:root:mpquic",
    }  # fmt: skip
    assert found["5"]["config"] == {}


@pytest.mark.parametrize("text", ["- 1\n", "a: [\n", "\xff"])
def test_a_file_that_nobody_can_read_is_no_obstacle(text):
    (found,) = running_instances([f"4 - {base64.b64encode(text.encode('latin-1')).decode()} -"]).values()
    assert found["config"] == {}
    assert yaml.safe_dump(found)
