#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a large site and say how long that takes: 500 clients with 6 tunnels and 6 links of 3 classes each.

usage: scale.py [CLIENTS]       fails when it takes longer than 10 s, the limit for 500 clients
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "collections"))

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan

CLIENTS = 500
#: Seconds.
LIMIT = 10.0
WANS = 6
CLASSES = ("cr", "df", "bk")
#: The ids of tunnels are unique on their VPS, and there are 255.
PER_SERVER = 40


def site(clients: int) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Return groups and variables of a site: a VPS for every 40 clients, whose links share one port for each WAN."""
    servers = [f"vps{number + 1}" for number in range(-(-clients // PER_SERVER))]
    hostvars: dict[str, dict[str, Any]] = {
        name: {"mpquic_public_address": f"203.0.113.{number + 1}"} for number, name in enumerate(servers)
    }
    names = [f"client{number + 1}" for number in range(clients)]
    for number, name in enumerate(names):
        hostvars[name] = _client(number % PER_SERVER, servers[number // PER_SERVER])
    return {"mpquic_clients": names, "mpquic_vps": servers}, hostvars


def _client(place: int, server: str) -> dict[str, Any]:
    """Return the variables of the client that has this place among those of its VPS."""
    wans = [f"enp7s{wan + 3}" for wan in range(WANS)]
    tunnels = []
    links = []
    for wan, name in enumerate(wans):
        number = place * WANS + wan + 1
        tunnels.append(
            {
                "id": number,
                "wan": name,
                "lan": f"enp6s{wan + 20}",
                "port": 20000 + number,
                "tun_cidr": f"10.99.{number}.0/30",
                "tun_name": f"tq{number}",
            }
        )
        links.append(
            {
                "id": wan + 1,
                "wan": name,
                "suffix": wan + 1,
                "network": f"10.{100 + wan}.0.0/16",
                "first": 3 * place,
                "classes": [{"name": item, "default": item == "df"} | _match(item) for item in CLASSES],
            }
        )
    return {"mpquic_server": server, "mpquic_tunnels": tunnels, "mpquic_class_tunnels": links}


def _match(name: str) -> dict[str, Any]:
    matches = {"cr": [{"protocol": "udp", "dports": [5060]}], "bk": [{"protocol": "tcp", "dports": ["5001-6000"]}]}
    return {"match": matches[name]} if name in matches else {}


def main(arguments: list[str]) -> int:
    """Plan, and print the time."""
    clients = int(arguments[0]) if arguments else CLIENTS
    groups, hostvars = site(clients)
    began = time.perf_counter()
    plan = site_plan(groups, hostvars)
    took = time.perf_counter() - began
    if plan["errors"]:
        sys.stderr.write("\n".join(plan["errors"][:10]) + "\n")
        return 1
    count = sum(len(host["instances"]) for host in plan["hosts"].values())
    size = f"{clients} clients, {len(groups['mpquic_vps'])} VPS, {count} instances"
    sys.stdout.write(f"{size}: planned in {took:.1f} s (limit {LIMIT:.0f} s)\n")
    return 0 if took < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
