# SPDX-License-Identifier: GPL-3.0-or-later
"""mpquic.tunnel.lan_routing on real rules and routes."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.netns


@pytest.fixture
def routing(run, netns):
    for number in (4, 5):
        netns.instance(number)
        netns.veth(f"lan{number}")

    def call(**options):
        return run("lan_routing", instances_dir=str(netns.instances), **options)

    return call


def test_fix_then_nothing_to_do(routing, netns):
    planned = routing(check=True)
    assert planned["changed"] is True
    assert "504:" not in netns.ip("rule")
    first = routing()
    assert first["changed"] is True
    assert first["degraded"] == 0
    assert first["diff"] == planned["diff"]
    assert first["diff"]["before"]["tunnel 4"]["rules"] == []
    assert first["diff"]["after"]["tunnel 4"]["rules"] == ["504: from 172.16.4.0/30 iif lan4 lookup 45004"]
    second = routing()
    assert second["changed"] is False
    assert second["rc"] == 0
    assert "diff" not in second
    assert "diff" not in routing(check=True)


def test_check_names_problems_and_never_changes_or_fails(routing, netns):
    routing()
    netns.ip("rule del priority 504")
    before = netns.snapshot()
    found = routing(mode="check")
    assert (found["changed"], found["rc"], found["degraded"]) == (False, 2, 1)
    assert [problem["code"] for problem in found["tunnels"][0]["problems"]] == ["rule_missing"]
    assert "failed" not in found
    assert netns.snapshot() == before


def test_diff_shows_only_the_tunnel_that_changes(routing, netns):
    routing()
    netns.ip("rule del priority 504")
    fixed = routing(target="4")
    assert fixed["changed"] is True
    assert list(fixed["diff"]["after"]) == ["tunnel 4"]


def test_what_a_fix_cannot_repair_is_a_warning(routing, netns):
    netns.ip("link del lan4")
    done = routing()
    assert "failed" not in done
    assert done["degraded"] == 1
    warned = (netns.folder / "module-err").read_text()
    assert warned.strip() == "[WARNING]: tunnel 4: lan_interface_missing: LAN interface lan4 does not exist"


def test_stale_objects_are_shown_and_removed(routing, netns):
    routing()
    (netns.instances / "5.yaml").unlink()
    done = routing()
    assert done["changed"] is True
    assert "TUN mpq5" in done["diff"]["before"]["of no instance"]
    assert done["diff"]["after"]["of no instance"] == []
    assert "505:" not in netns.ip("rule")


def test_a_wrong_file_fails_with_its_message(routing, netns):
    (netns.instances / "5.yaml").write_text("role: client\n")
    failed = routing()
    assert failed["failed"] is True
    assert failed["rc"] == 78
    assert "5.yaml: tun_name: missing" in failed["msg"]


def test_a_target_without_the_command(routing):
    nowhere = {"executable": "/nonexistent/mpquic"}
    planned = routing(check=True, **nowhere)
    assert planned["changed"] is True
    assert planned["degraded"] is None
    assert planned["diff"]["before"] != planned["diff"]["after"]
    assert routing(check=True, mode="check", **nowhere)["changed"] is False
    assert "no such command" in routing(**nowhere)["msg"]
