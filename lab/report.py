# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tunnels of a lab deliver, as a person sees it: one line per tunnel."""

import json
import subprocess
from typing import Any

from lab import lifecycle
from lab.errors import LabError
from lab.paths import Paths
from lab.shell import step

SECONDS = 4  # of download per tunnel
NEXT = (
    ("lab/lab exec client1 mpquic status", "what the daemons say"),
    (
        "lab/lab cut wan4; lab/lab exec client1 mpquic health check",
        "a silent black hole; after lab/lab restore wan4 it is back within 30 s",
    ),
    (
        "make site ARGS='--check --diff'",
        "after editing a line of inventories/lab/host_vars/client1.yml: what would move; make site moves it",
    ),
)
HEADINGS = ("TUNNEL", "LAN", "WAN", "STATE", "RTT ms", "DOWN Mbit/s", "SEEN AS")


def output(command: list[str], seconds: float) -> str:
    """Return what a command prints, or nothing if it fails or takes too long."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True).stdout
    except subprocess.SubprocessError:
        return ""


def measure(paths: Paths, lan: str) -> tuple[str, str]:
    """Return the throughput in Mbit/s and the address that the internet sees, both as text."""
    url = f"http://{paths.topology.server}"
    curl = ["ip", "netns", "exec", paths.netns(lan), "curl", "--silent", "--max-time"]
    seen = output([*curl, "5", f"{url}/ip"], 6).strip()
    if not seen:
        return "-", "-"
    # A download that is cut off by its time limit fails, but still says how fast it was.
    shell = '"$@" --output /dev/null --write-out "%{speed_download}" || true'
    limit = [*curl, str(SECONDS), f"{url}/bytes/1000000000"]
    speed = output(["sh", "-c", shell, "sh", *limit], SECONDS + 5)
    return f"{float(speed or 0) * 8 / 1e6:.1f}", seen


def report(paths: Paths) -> int:
    """Print the table and what to try next; return how many tunnels do not deliver."""
    lifecycle.require_up(paths)
    client = next(
        host for host in paths.topology.hosts.values() if any(nic.end.name in paths.topology.wans for nic in host.nics)
    )
    status = output(lifecycle.machine(paths, client.name).command(["mpquic", "status", "--json"]), 10)
    if not status:
        raise LabError(f"{client.name}: mpquic status said nothing: run the play first (make site)")
    # Those of the LANs: a class tunnel has none of its own.
    numbered = [entry for entry in json.loads(status)["instances"] if entry["id"].isdecimal()]
    instances: list[dict[str, Any]] = sorted(numbered, key=lambda entry: int(entry["id"]))
    wans = {f"if:{nic.name}": f"{nic.end.name} {nic.name}" for nic in client.nics}
    rows = [HEADINGS]
    for entry in instances:
        lan = f"lan{entry['id']}"
        with step(f"measure {entry['tun']}"):
            speed, seen = measure(paths, lan)
        rtt = "-" if entry["rtt_ms"] is None else f"{entry['rtt_ms']:.0f}"
        rows.append((entry["tun"], lan, wans.get(entry["bind"], entry["bind"]), entry["state"], rtt, speed, seen))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    print(flush=True)
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nNext:")
    for command, text in NEXT:
        print(f"  {command}\n      {text}")
    return sum(row[-1] == "-" for row in rows[1:])
