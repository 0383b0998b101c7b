# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab is doing now."""

from dataclasses import asdict
from typing import Any

from lab import lifecycle
from lab.paths import Paths
from lab.wires import Wire

WAN_ROW = "{:6} {:9} {:13} {:>14} {:>9} {:>6} {:>20} {:>6}"


def read(paths: Paths) -> dict[str, Any]:
    """Return everything that `status` shows."""
    topology = paths.topology
    hosts = {
        each.host.name: {
            "state": each.state(),
            "address": str(each.host.management),
            "pid": each.leader,
            "nics": {nic.name: nic.end.name for nic in each.host.nics},
        }
        for each in lifecycle.machines(paths)
    }
    is_whole = lifecycle.whole(paths)
    running = all(host["state"] == "running" for host in hosts.values())
    return {
        "name": topology.name,
        "state": "up" if is_whole and running else "degraded" if paths.cgroup.exists() else "down",
        "hosts": hosts,
        "wans": {name: wan(paths, name) for name in topology.wans},
        "lans": {name: {"network": str(lan.network)} for name, lan in topology.lans.items()},
        "internet": {"server": str(topology.server), "http_log": str(paths.http_log)},
        "ssh": {
            "config": str(paths.ssh_config),
            "key": str(paths.ssh_key),
            "known_hosts": str(paths.known_hosts),
        },
    }


def wan(paths: Paths, name: str) -> dict[str, Any]:
    """Return the state of one WAN."""
    wan = paths.topology.wans[name]
    wire = Wire(paths, wan)
    entry: dict[str, Any] = {"isp": wan.isp, "public": str(wan.public), "running": wire.pid is not None}
    if wire.settings.exists():
        quality, cut = wire.read()
        entry |= {
            "cut": cut,
            "quality": asdict(quality),
            "profile": quality == wan.quality,
            "counters": wire.counters(),
        }
    return entry


def show(status: dict[str, Any]) -> str:
    """Format for people."""
    lines = [f"lab {status['name']}: {status['state']}", ""]
    lines += [f"{'HOST':10} {'STATE':10} {'ADDRESS':15} NICS"]
    for name, host in status["hosts"].items():
        lines.append(f"{name:10} {host['state']:10} {host['address']:15} {' '.join(host['nics'])}")
    lines += [
        "",
        WAN_ROW.format("WAN", "STATE", "PUBLIC", "UP/DOWN Mbit/s", "DELAY ms", "LOSS %", "UP/DOWN packets", "LOST"),
    ]
    for name, wan in status["wans"].items():
        if "quality" not in wan:
            lines.append(f"{name:6} {'down':9} {wan['public']}")
            continue
        quality, up, down = wan["quality"], wan["counters"]["up"], wan["counters"]["down"]
        state = "cut" if wan["cut"] else "down" if not wan["running"] else "profile" if wan["profile"] else "impaired"
        lost = sum(way[reason] for way in (up, down) for reason in ("lost", "overflowed", "cut"))
        rate = f"{quality['rate_up']:g}/{quality['rate_down']:g}"
        delay = f"{quality['delay']:g}±{quality['jitter']:g}"
        packets = f"{up['packets']}/{down['packets']}"
        lines.append(WAN_ROW.format(name, state, wan["public"], rate, delay, f"{quality['loss']:g}", packets, lost))
    lines += [
        "",
        f"ssh -F {status['ssh']['config']} {next(iter(status['hosts']), '')}",
        f"log of http://{status['internet']['server']}: {status['internet']['http_log']}",
    ]
    return "\n".join(lines)
