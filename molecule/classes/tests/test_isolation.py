# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls do not notice bulk on the same link, and do as soon as the shaper or the classes are taken away."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import WEB, instances, lab, out, run, unwatched, wait_for
from flows import flow, result, server
from links import CLASSES, ENDS, PORT, outer_ports

RATE = 20
FIFO = RATE * 1_000_000 // 8 // 2  # bytes: 500 ms
LOST, LATER = 0.001, 20.0  # share of the packets; ms


@pytest.fixture(scope="module")
def idle():
    """Make WAN 5 a line of 20 Mbit/s with a deep FIFO at the ISP; return the round trip (ms) when it is idle."""
    lab("impair", "wan5", f"rate={RATE}", f"limit={FIFO}", "delay=10", "jitter=0", "loss=0")
    with server():
        wait_for(up, seconds=20, what="all classes up")
        yield result(flow("calls", WEB, 10000, 0, 2))["median"]
    lab("restore", "wan5")


def up() -> bool:
    return all(instances("client1")[name]["state"] == "up" for name in (*CLASSES, "5"))


def under_load(seconds: float, dscp: int = 0, port: int = 10000) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what becomes of calls, and of bulk, while bulk offers three times the link's rate each way."""
    bulk = flow("flood", WEB, 5001, 3 * RATE, seconds + 1)
    call = result(flow("calls", WEB, port, dscp, seconds))
    return call, result(bulk)


def hurt(call: dict[str, Any], idle: float) -> bool:
    return call["lost"] > LOST * call["sent"] or call["p99"] - idle > LATER


@pytest.mark.parametrize(("port", "dscp"), [(5060, 46)])
def test_calls_are_not_hurt_by_bulk(idle, port, dscp):
    # Client, VPS, ISP and all flows share the cores of one machine. What that costs is seen by calls on another WAN.
    elsewhere = result(flow("calls", WEB, 10000, 0, 2, lan="lan1"))
    beside = flow("calls", WEB, 10000, 0, 11, lan="lan1")
    call, bulk = under_load(10, dscp, port)
    machine = max(0.0, result(beside)["p99"] - elsewhere["p99"])
    told = f"idle {idle:.1f} ms, under load {call}, bulk {bulk}, on another WAN {machine:.1f} ms more"
    assert bulk["sent"] > 0.9 * 3 * RATE * 1e6 / 8 / 1300 * 11, told
    # Bulk has the link to itself but for the calls, both ways.
    for way in ("arrived", "back"):
        assert bulk[way] * 1300 * 8 / 11e6 > 0.7 * RATE, told
    assert call["lost"] <= LOST * call["sent"], told
    assert call["p99"] - idle <= LATER + machine, told


def test_without_the_shaper_they_are(idle):
    """As if the inventory had no rates: neither tc nor the daemons hold anything back."""
    names = {"client1": (*CLASSES, "5"), "vps1": ("mt1", "5")}
    try:
        for host in ENDS:
            files = " ".join(f"/etc/mpquic/instances/{name}.yaml" for name in names[host])
            out(host, f"mkdir /run/kept; cp -p {files} /run/kept; sed -i /^rate:/d {files}")
        restart(names)
        # Last, as a daemon that starts has the shaper put right.
        for host, device in zip(ENDS, ("enp7s7", "enp1s0"), strict=True):
            out(host, f"tc qdisc del dev {device} root")
        call, bulk = under_load(4)
        told = f"idle {idle:.1f} ms, under load {call}, bulk {bulk}"
        assert hurt(call, idle), told
    finally:
        for host in ENDS:
            out(host, "cp -p /run/kept/* /etc/mpquic/instances/; rm -r /run/kept")
        restart(names)


def restart(names: dict[str, tuple[str, ...]]) -> None:
    for host, units in names.items():
        out(host, "systemctl restart " + " ".join(f"mpquic@{name}" for name in units))
    wait_for(up, seconds=20, what="all classes up")


def test_without_classes_they_are(idle):
    """All in the tunnel of the LAN, with the shaper: calls wait behind bulk in the tunnel's own queue."""
    with unwatched("client1"):
        try:
            out("client1", "nft flush chain inet mpquic class_mt1")
            call, bulk = under_load(4)
            told = f"idle {idle:.1f} ms, under load {call}, bulk {bulk}"
            assert hurt(call, idle), told
        finally:
            out("client1", "systemctl reload mpquic-nftables")


def test_loss_on_the_outer_flow_of_bulk_is_bulk_s_alone(idle):
    """What the ISP's router drops are packets of one five-tuple; the tunnels share nothing else."""
    port = outer_ports()["bk5"]
    lossy = f"udp sport {{ {port}, {PORT} }} udp dport {{ {port}, {PORT} }} numgen random mod 10 == 0 counter drop"
    chain = f"chain lossy {{ type filter hook forward priority 0; {lossy}; }}"
    try:
        run("isp5", f"echo 'table ip lossy {{ {chain}; }}' | nft -f -")
        bulk = flow("flood", WEB, 5001, 3, 6)
        call = result(flow("calls", WEB, 10000, 0, 5))
        found = result(bulk)
    finally:
        run("isp5", "nft delete table ip lossy")
    told = f"idle {idle:.1f} ms, beside a lossy bulk tunnel {call}, bulk {found}"
    assert 0.05 < 1 - found["arrived"] / found["sent"] < 0.15, told
    assert not hurt(call, idle), told
    assert call["lost"] == 0, told
