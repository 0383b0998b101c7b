# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed daemons come back within three seconds, rebooted hosts by themselves."""

from __future__ import annotations

import itertools
import re
import time

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
