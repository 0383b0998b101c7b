# SPDX-License-Identifier: GPL-3.0-or-later
"""The classes of the scenario's site, and flows that belong to them."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conftest import WEB, instances, out, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

WEB6 = "2001:db8:80::80"
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
TRAFFIC = f"{sys.executable} {Path(__file__).with_name('traffic.py')}"


def flow(kind: str, *arguments: object, lan: str = "lan5") -> subprocess.Popen[str]:
    """Start a flow of the LAN: ``calls``, ``flood`` or ``load`` with what traffic.py takes."""
    return start(lan, f"exec {TRAFFIC} {kind} {' '.join(map(str, arguments))}")


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a flow, and return what became of it."""
    stdout, stderr = process.communicate(timeout=90)
    assert process.returncode == 0, stderr
    found: dict[str, Any] = json.loads(stdout)
    return found


@contextlib.contextmanager
def server() -> Iterator[None]:
    """Answer flows on the internet, for IPv4 and IPv6."""
    process = start("internet", f"exec {TRAFFIC} serve {WEB} {WEB6}")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=10)


def outer_ports() -> dict[str, int]:
    """Return the UDP port from which each class's tunnel sends."""
    sockets = out("client1", "ss -Hunp").splitlines()
    pids = {name: instances("client1")[name]["pid"] for name in CLASSES}
    found = {}
    for name, pid in pids.items():
        mine = [line.split() for line in sockets if f"pid={pid}," in line and f":{PORT} " in line]
        found[name] = int(next(fields[2] for fields in mine).rpartition(":")[2])
    return found
