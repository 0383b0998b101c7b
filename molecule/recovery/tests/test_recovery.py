# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed daemons come back within three seconds, rebooted hosts by themselves."""

from __future__ import annotations

import itertools
import json
import re
import time
from typing import Any

import pytest
from conftest import TUNNELS, WEB, all_up, lab, out, run, start, wait_for

INTERVAL = 0.05


def longest_gap(text: str) -> float:
    """Return the longest time in seconds between two answers of ``ping -D``."""
    times = [float(stamp) for stamp in re.findall(r"^\[([0-9.]+)\] \d+ bytes from", text, re.MULTILINE)]
    assert len(times) > 50
    return max(b - a for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_traffic_is_back_within_three_seconds_of_kill_9(host):
    wait_for(all_up, seconds=30, what="all six tunnels pass packets")
    ping = start("lan3", f"ping -D -i {INTERVAL} -w 10 {WEB}")
    time.sleep(2)
    old = out(host, "systemctl show -P MainPID mpquic@3").strip()
    out(host, f"kill -9 {old}")
    gap = longest_gap(ping.communicate(timeout=30)[0])
    assert out(host, "systemctl show -P MainPID mpquic@3").strip() != old
    assert INTERVAL * 2 < gap < 3


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_all_six_come_back_alone_after_a_reboot(host):
    run(host, "systemctl reboot", check=False)
    wait_for(lambda: not all_up(), seconds=20, what="the host went down")
    wait_for(all_up, seconds=60, what=f"six tunnels after the reboot of {host}")
    assert out(host, "systemctl is-active " + " ".join(f"mpquic@{i}" for i in TUNNELS)).split() == ["active"] * 6


def test_all_six_come_back_after_a_power_cut():
    lab("crash", "client1")
    lab("start", "client1")
    wait_for(all_up, seconds=60, what="six tunnels after the power cut of client1")


# --- the timer -------------------------------------------------------------------------------------------------------

#: Seconds: the timer, its delay, the check, the restart, and as much again for a busy machine.
_ROUND = 90


def _settle(host: str) -> None:
    """Let the configuration be old enough for a timer to act."""
    run(host, "touch -d '10 minutes ago' /etc/mpquic/instances/* /etc/mpquic/instances")


def _start(host: str, unit: str = "mpquic@3") -> str:
    """Return the id of a unit's present start, whoever asked for it."""
    return out(host, f"systemctl show -P InvocationID {unit}").strip()


def _reports(host: str, since: str) -> list[dict[str, Any]]:
    """Return what the runs of the timer said since a moment (as of journalctl)."""
    lines = out(host, f"journalctl -u mpquic-health.service -o cat --since '{since}' --no-pager").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _now(host: str) -> str:
    return out(host, "date '+%Y-%m-%d %H:%M:%S'").strip()


def _main(tunnel: int) -> str:
    """Return the process of a daemon."""
    return out("client1", f"systemctl show -P MainPID mpquic@{tunnel}").strip()


def _tunnel(report: dict[str, Any]) -> dict[str, Any]:
    return next(found for found in report["tunnels"] if found["id"] == "3")


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_the_timer_runs_and_finds_nothing_to_do(host):
    _settle(host)
    wait_for(all_up, seconds=30, what="all six tunnels pass packets")
    assert out(host, "systemctl is-enabled mpquic-health.timer").strip() == "enabled"
    since, before = _now(host), [_start(host, f"mpquic@{i}") for i in TUNNELS]
    wait_for(lambda: len(_reports(host, since)) >= 2, seconds=2 * _ROUND, what="two runs of the timer")
    for report in _reports(host, since):
        assert (report["healthy"], report["changed"], report["deferred"]) == (True, False, None), report
    assert [_start(host, f"mpquic@{i}") for i in TUNNELS] == before


def test_the_watchdog_ends_a_hung_daemon():
    before = _main(3)
    run("client1", f"kill -STOP {before}")
    wait_for(lambda: _main(3) not in {before, "0"}, seconds=60, what="a new daemon")
    wait_for(all_up, seconds=30, what="all six tunnels pass packets")


def test_the_timer_restarts_a_hung_daemon_that_nobody_watches():
    _settle("client1")
    drop_in = "/run/systemd/system/mpquic@3.service.d"
    run("client1", f"mkdir -p {drop_in} && printf '[Service]\\nWatchdogSec=0\\n' >{drop_in}/test.conf")
    run("client1", "systemctl daemon-reload && systemctl restart mpquic@3")
    wait_for(all_up, seconds=30, what="all six tunnels pass packets")
    try:
        since, before = _now("client1"), _start("client1")
        run("client1", "kill -STOP $(systemctl show -P MainPID mpquic@3)")
        wait_for(lambda: _start("client1") != before, seconds=_ROUND, what="the timer restarted mpquic@3")
        wait_for(all_up, seconds=30, what="all six tunnels pass packets")
        acted = [report for report in _reports("client1", since) if report["changed"]]
        assert _tunnel(acted[0])["actions"] == ["restart mpquic@3.service"]
    finally:
        run("client1", f"rm -r {drop_in} && systemctl daemon-reload && systemctl restart mpquic@3")
        wait_for(all_up, seconds=30, what="all six tunnels pass packets")


def test_a_tunnel_that_says_up_and_carries_nothing_is_restarted_once_and_then_rarely():
    _settle("client1")
    run("client1", "rm -f /run/mpquic-health/restarts.json")
    table = "table inet blocked { chain o { type filter hook output priority 0; oifname mpq3 drop; }; }"
    since, before = _now("client1"), _start("client1")
    run("client1", f"nft '{table}'")
    try:
        wait_for(lambda: _start("client1") != before, seconds=_ROUND, what="the timer restarted mpquic@3")
        once, seen = _start("client1"), len(_reports("client1", since))
        wait_for(lambda: len(_reports("client1", since)) > seen, seconds=_ROUND, what="another run")
        assert _start("client1") == once
        assert _tunnel(_reports("client1", since)[-1])["restarts"]["count"] == 1
    finally:
        run("client1", "nft delete table inet blocked")
    wait_for(
        lambda: _tunnel(_reports("client1", since)[-1])["restarts"]["count"] == 0, seconds=2 * _ROUND, what="forgiven"
    )


def test_a_dead_wan_is_not_recovered_in_a_loop():
    _settle("client1")
    since, before = _now("client1"), _start("client1")
    lab("cut", "wan3")
    try:
        wait_for(
            lambda: sum(not report["healthy"] for report in _reports("client1", since)) >= 3,
            seconds=3 * _ROUND,
            what="three runs that see the dead WAN",
        )
        last = _tunnel(_reports("client1", since)[-1])
        assert last["restarts"]["count"] == 0
        assert last["actions"] == []
        assert _start("client1") == before
        # Its server has nothing to recover from either.
        assert _tunnel(_reports("vps1", since)[-1])["actions"] == []
    finally:
        lab("restore", "wan3")
    assert wait_for(all_up, seconds=30, what="all six tunnels pass packets") < 30
    assert _start("client1") == before
