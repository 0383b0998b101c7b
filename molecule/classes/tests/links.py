# SPDX-License-Identifier: GPL-3.0-or-later
"""The classes of the scenario's site."""

from __future__ import annotations

from conftest import instances, out

PORT = 45010
ENDS = ("client1", "vps1")
LAN = ("172.16.5.2", "fd00:5::2")
VPS_TUN = ("10.200.10.254", "fd6d:7071:10::ffff")
#: Class: its TUN addresses, the server ports of its flows, its outer DSCP.
CLASSES: dict[str, tuple[tuple[str, str], set[int], int]] = {
    "cr5": (("10.200.10.1", "fd6d:7071:10::1"), {5060, 10000}, 46),
    "df5": (("10.200.10.5", "fd6d:7071:10::5"), {443}, 0),
    "bk5": (("10.200.10.9", "fd6d:7071:10::9"), {5001, 5500, 6000}, 8),
}


def outer_ports() -> dict[str, int]:
    """Return the UDP port from which each class's tunnel sends."""
    sockets = out("client1", "ss -Hunp").splitlines()
    pids = {name: instances("client1")[name]["pid"] for name in CLASSES}
    found = {}
    for name, pid in pids.items():
        mine = [line.split() for line in sockets if f"pid={pid}," in line and f":{PORT} " in line]
        found[name] = int(next(fields[2] for fields in mine).rpartition(":")[2])
    return found
