# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic of every LAN crosses its own tunnel, on its own WAN, and comes out at the VPS."""

from __future__ import annotations

import hashlib

import pytest
from conftest import TUNNELS, VPS_ADDRESS, WEB, capture, out, start


@pytest.mark.parametrize("i", TUNNELS)
def test_the_internet_sees_the_vps(i):
    assert out(f"lan{i}", f"curl -sS --max-time 10 http://{WEB}/ip").strip() == VPS_ADDRESS


def test_tunnel_leaves_by_its_wan_and_by_no_other():
    with capture() as seen:
        for i in TUNNELS:
            out(f"lan{i}", f"curl -sS --max-time 20 -o /dev/null http://{WEB}/bytes/300000")
    for i in TUNNELS:
        assert seen.ports(i) == {45000 + i}
        assert seen.plain(i) == []
        # 300 000 bytes in packets of 1300 at most, and their acknowledgements, several of which may share a datagram.
        assert len(seen.lines[i]) > 240


def test_six_downloads_of_100_mb_at_once_arrive_whole():
    expected = out("internet", f"curl -sS http://{WEB}/100M.bin.sha256", timeout=60).split()[0]
    assert len(expected) == len(hashlib.sha256().hexdigest())
    running = [start(f"lan{i}", f"curl -sS --max-time 500 http://{WEB}/100M.bin | sha256sum") for i in TUNNELS]
    sums = [process.communicate(timeout=520)[0].split()[0] for process in running]
    assert sums == [expected] * len(running)
