# SPDX-License-Identifier: GPL-3.0-or-later
"""The TUN, the route and the rule of tunnel 4 are deleted by hand."""

from __future__ import annotations

import json
import re

import pytest
from conftest import TUNNELS, WEB, all_up, capture, instances, out, run, start, unwatched, wait_for


@pytest.fixture(scope="module", autouse=True)
def _by_hand():
    """What is broken here is to be found and repaired by hand."""
    with unwatched("client1", "vps1"):
        yield


def routing(verb: str, target: str) -> tuple[int, dict]:
    result = run("client1", f"mpquic routing {verb} {target} --json", check=False)
    return result.returncode, json.loads(result.stdout)


def problems(report: dict) -> dict[str, set[str]]:
    return {
        entry["id"]: {problem["code"] for problem in entry["problems"]}
        for entry in report["tunnels"]
        if entry["problems"]
    }


def state() -> list[str]:
    """Return rules and routes without those of tunnel 4."""
    text = out("client1", "ip rule show; ip route show table all")
    return [line for line in text.splitlines() if not re.search(r"mpq4|45004|172\.16\.4\.", line)]


def test_a_healthy_site_is_healthy():
    assert routing("check", "all")[0] == 0


def test_each_loss_is_named_and_repaired_alone():
    before, others = state(), {i: instances("client1")[str(i)]["session"] for i in TUNNELS if i != 4}
    sender = start("lan4", f"ping -q -i 0.05 -w 25 {WEB}")
    udp = start("lan4", f"for i in $(seq 100); do curl -s -m 0.3 http://{WEB}/ip; sleep 0.1; done")
    with capture() as seen:
        out("client1", "ip route del default dev mpq4 table 45004")
        code, report = routing("check", "4")
        assert (code, problems(report)) == (2, {"4": {"route_missing"}})

        out("client1", "ip rule del priority 504")
        code, report = routing("check", "all")
        assert (code, problems(report)) == (2, {"4": {"route_missing", "rule_missing"}})

        out("client1", "ip link del mpq4")
        code, report = routing("check", "all")
        assert code == 2
        assert problems(report)["4"] >= {"tun_missing", "route_missing", "rule_missing"}
        assert set(problems(report)) == {"4"}

        code, report = routing("fix", "4")
        assert (code, report["changed"]) == (0, True)
        assert routing("check", "4")[0] == 0
        wait_for(
            lambda: run("lan4", f"ping -c1 -W1 {WEB}", check=False).returncode == 0,
            seconds=15,
            what="traffic of LAN 4 back",
        )
        sender.wait(timeout=40)
        udp.wait(timeout=60)
    for wan in TUNNELS:
        assert seen.plain(wan) == []
    assert state() == before
    assert {i: instances("client1")[str(i)]["session"] for i in TUNNELS if i != 4} == others


def test_fix_of_a_healthy_tunnel_changes_nothing():
    wait_for(all_up, seconds=20, what="all six tunnels pass packets")
    code, report = routing("fix", "all")
    assert (code, report["changed"]) == (0, False)


@pytest.mark.parametrize("object_", ["unreachable default table 45004 metric 4278198272"])
def test_the_standing_route_is_missed(object_):
    out("client1", f"ip route del {object_}")
    code, report = routing("check", "4")
    assert (code, problems(report)) == (2, {"4": {"standing_route_missing"}})
    assert routing("fix", "4")[0] == 0
    assert routing("check", "all")[0] == 0


def health(verb: str, host: str = "client1") -> tuple[int, dict]:
    result = run(host, f"mpquic health {verb} --json", check=False)
    return result.returncode, json.loads(result.stdout)


def has_table(host: str) -> bool:
    return run(host, "nft list table inet mpquic", check=False).returncode == 0


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_a_lost_nft_table_is_named_and_loaded_again(host):
    out(host, "nft delete table inet mpquic")
    code, report = health("check", host)
    assert code == 2
    assert all({reason["code"] for reason in entry["reasons"]} == {"nft_missing"} for entry in report["tunnels"])
    assert health("fix", host)[0] == 0
    assert has_table(host)


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_nftables_service_does_not_take_the_table_away(host):
    before = out(host, "systemctl is-active nftables || true").strip()
    for verb in ("start", "reload", "restart", "stop", "start"):
        out(host, f"systemctl {verb} nftables")
        assert has_table(host), verb
    if before != "active":
        out(host, "systemctl stop nftables")
    assert has_table(host)


def test_a_daemon_that_runs_an_old_file_is_named_and_restarted():
    path = "/etc/mpquic/instances/5.yaml"
    try:
        out("client1", f"cp -p {path} /run/5.yaml; echo '# edited' >> {path}")
        code, report = health("check")
        stale = {entry["id"]: {r["code"] for r in entry["reasons"]} for entry in report["tunnels"] if entry["reasons"]}
        assert (code, stale) == (2, {"5": {"config_stale"}})
        others = {i: instances("client1")[str(i)]["session"] for i in TUNNELS if i != 5}
        assert health("fix")[0] == 0
        assert {i: instances("client1")[str(i)]["session"] for i in TUNNELS if i != 5} == others
    finally:
        out("client1", f"cp -p /run/5.yaml {path}; systemctl restart mpquic@5")
    wait_for(all_up, seconds=20, what="all six tunnels pass packets")
