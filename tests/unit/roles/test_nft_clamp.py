# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table of the daemon role lowers the MSS of connections through a tunnel, in both directions."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from nft_table import render, sh

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
TUN_MTU = 1361

_SERVE = "import socket,sys;s=socket.create_server((sys.argv[1],80));print('ready',flush=True)\n"
_SERVE += "c=s.accept()[0];print(c.getsockopt(6,2),flush=True);c.recv(1)"
_DIAL = "import socket,sys;s=socket.create_connection((sys.argv[1],80),5);print(s.getsockopt(6,2),flush=True)"


@pytest.fixture
def sites():
    """Give a host behind the tunnel, one on the internet, and the VPS, where a link stands for the TUN."""
    names = {place: f"mqn{place[0]}{os.getpid()}" for place in ("lan", "vps", "web")}
    try:
        for name in names.values():
            sh(f"ip netns add {name}")
            sh(f"ip -n {name} link set lo up")
        sh(f"ip link add eth0 netns {names['lan']} type veth peer name mpq4 netns {names['vps']}")
        sh(f"ip link add eth0 netns {names['web']} type veth peer name wan0 netns {names['vps']}")
        for place, device, address in (
            ("lan", "eth0", "172.16.4.2/30"),
            ("web", "eth0", "192.0.2.80/24"),
            ("vps", "mpq4", "172.16.4.1/30"),
            ("vps", "wan0", "192.0.2.1/24"),
        ):
            sh(f"ip -n {names[place]} address add {address} dev {device}")
            sh(f"ip -n {names[place]} link set {device} up")
        # Only this end of the link is small: the other one is as wide as a LAN.
        sh(f"ip -n {names['vps']} link set mpq4 mtu {TUN_MTU}")
        sh(f"ip -n {names['lan']} route add default via 172.16.4.1")
        sh(f"ip -n {names['web']} route add default via 192.0.2.1")
        sh(f"ip netns exec {names['vps']} sysctl -q net.ipv4.ip_forward=1")
        yield names
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def segments(sites: dict[str, str], dialler: str, listener: str, address: str) -> tuple[int, int]:
    """Return the MSS that each side of a connection ends up with: the dialler's, the listener's."""
    serve = ["ip", "netns", "exec", sites[listener], sys.executable, "-c", _SERVE, address]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            dial = ["ip", "netns", "exec", sites[dialler], sys.executable, "-c", _DIAL, address]
            mine = subprocess.run(dial, check=True, capture_output=True, text=True, timeout=20).stdout
            return int(mine), int(server.stdout.readline())
        finally:
            server.kill()


def test_both_directions_are_clamped(sites):
    nft = {"tuns": ["mpq4"], "masquerade": ["172.16.4.0/30"], "guards": []}
    sh(f"ip netns exec {sites['vps']} nft -f -", render(nft))
    expected = TUN_MTU - 40 - 12  # less the timestamps that Linux sends
    assert segments(sites, "lan", "web", "192.0.2.80") == (expected, expected)
    # The same for connections from outside, should somebody forward a port.
    assert segments(sites, "web", "lan", "172.16.4.2") == (expected, expected)
