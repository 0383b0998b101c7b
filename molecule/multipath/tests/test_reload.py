# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of paths: what they name changes, and everything else keeps its process and its session."""

from __future__ import annotations

import pytest
from conftest import WEB, instances, out, play, recap, watch
from flows import flow, result, server
from paths import ENDS, LAN, NAME, PORT, WANS, all_up, apply, ensure, others, recipe, status, write

FIRST, SECOND, THIRD = WANS.values()
MOVED, ADDED = "enp7s8", "enp7s7"
RECIPE = "An expensive path for the worst case"


def edited():
    """Return the tunnel with another weight, its third path on another WAN, and a fourth path."""
    tunnel = recipe(RECIPE)
    tunnel["paths"][0]["weight"] = 5
    tunnel["paths"][2] |= {"wan": MOVED, "name": THIRD}
    tunnel["paths"].append({"wan": ADDED, "rate_down": "5mbit", "priority": 10, "weight": 2})
    return tunnel


@pytest.fixture(scope="module")
def changed():
    """Edit the paths."""
    ensure(recipe(RECIPE))
    before = {"others": others(), "paths": {host: status(host) for host in ENDS}}
    before["pids"] = {host: instances(host)[NAME]["pid"] for host in ENDS}
    announced = play("--check", "--diff", inventory=write(edited()))
    result_ = apply(edited())
    all_up(FIRST, SECOND, THIRD, ADDED)
    return {**before, "announced": announced, "play": result_}


def test_check_and_diff_announce_it(changed):
    assert recap(changed["announced"])["vps1"]["changed"] == 0
    text = changed["announced"].stdout
    for line in (
        "-  weight: 2",
        "+  weight: 5",
        f"-  bind_ip: if:{THIRD}",
        f"+  bind_ip: if:{MOVED}",
        f"+- name: {ADDED}",
    ):
        assert line in text, text[-4000:]


def test_only_what_is_named_changes(changed):
    assert recap(changed["play"])["vps1"]["changed"] == 0
    assert others() == changed["others"]
    assert {host: instances(host)[NAME]["pid"] for host in ENDS} == changed["pids"]
    for host in ENDS:
        was, now = changed["paths"][host], status(host)
        assert [now[name]["session"] for name in (FIRST, SECOND)] == [was[name]["session"] for name in (FIRST, SECOND)]
        assert now[THIRD]["session"] != was[THIRD]["session"]
    # The VPS has it from the client.
    assert status("vps1")[FIRST]["weight"] == status()[FIRST]["weight"] == 5
    assert status()[THIRD]["local"].startswith("100.64.6.")


def test_a_path_beside_classes_is_in_the_rest_of_the_shaper(changed):
    def sent() -> int:
        shown = out("client1", f"tc -s class show dev {ADDED}").split("class htb ")
        (rest,) = [part for part in shown if part.startswith("6d71:1ff ")]
        return int(rest.split(" pkt")[0].rpartition(" ")[2])

    before = sent()
    with server(), watch(("isp5", "access", f"udp dst port {PORT}")) as seen:
        assert result(flow("many", WEB, 10000, 100, 3, 23000, lan=LAN))["back"] == 300
    assert len(seen["isp5", "access"]) > 20
    assert sent() - before > 20
