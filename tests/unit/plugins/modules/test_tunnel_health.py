# SPDX-License-Identifier: GPL-3.0-or-later
"""mpquic.tunnel.tunnel_health and tunnel_info against the real command."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.netns


@pytest.fixture
def health(run, netns):
    netns.instance(4)
    netns.veth("lan4")
    netns.veth("wan4", "100.64.4.2/24")

    def call(**options):
        return run("tunnel_health", instances_dir=str(netns.instances), timeout=0.2, patience=0.2, **options)

    return call


def codes(result, key="reasons"):
    return {reason["code"] for tunnel in result["tunnels"] for reason in tunnel[key]}


def test_gives_reasons_and_does_not_fail(health, netns):
    before = netns.snapshot()
    found = health()
    assert (found["healthy"], found["degraded"], found["changed"]) == (False, 1, False)
    assert {"tun_missing", "rule_missing", "no_reply"} <= codes(found)
    assert "failed" not in found
    assert netns.snapshot() == before


def test_recovers_what_it_can_and_says_so(health, netns):
    planned = health(recover=True, check=True)
    assert planned["changed"] is True
    assert "504:" not in netns.ip("rule")
    before, after = (planned["diff"][side]["tunnel 4"] for side in ("before", "after"))
    assert "rule_missing: no '504: from 172.16.4.0/30 iif lan4 lookup 45004'" in before["wrong"]
    assert after == {"would be done": planned["tunnels"][0]["actions"]}
    done = health(recover=True)
    assert done["changed"] is True
    assert codes(done) == {"no_reply"}
    assert "rule_missing" in codes(done, "found")
    assert done["tunnels"][0]["actions"] == planned["tunnels"][0]["actions"]
    assert "rule_missing" in str(done["diff"]["before"])
    assert done["diff"]["after"]["tunnel 4"]["done"] == done["tunnels"][0]["actions"]
    assert "rule_missing" not in str(done["diff"]["after"])
    assert health(recover=True)["changed"] is False


def test_role_limits_the_instances(health):
    assert health(role="server")["tunnels"] == []
    assert len(health(role="client")["tunnels"]) == 1


def test_info_reads_and_never_changes(run):
    found = run("tunnel_info")
    assert found["changed"] is False
    assert isinstance(found["instances"], list)
    failed = run("tunnel_info", target="no-such-instance")
    assert failed["failed"] is True
    assert "no-such-instance" in failed["msg"]


@pytest.mark.parametrize("name", ["tunnel_health", "tunnel_info"])
def test_a_target_without_the_command(run, name):
    planned = run(name, check=True, executable="/nonexistent/mpquic")
    assert planned["changed"] is False
    assert "failed" not in planned
    assert "no such command" in run(name, executable="/nonexistent/mpquic")["msg"]
