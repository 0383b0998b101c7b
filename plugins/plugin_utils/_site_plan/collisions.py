# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Compares the entries of a site: no two may claim one thing. Each message names both."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPAddress, IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Client, Site, Tunnel
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

# What must be unique among all tunnels of one VPS, and what only on one client.
_PER_SERVER = ("port", "tun_name")
_PER_CLIENT = ("table", "priority")


def find(site: Site, problems: Problems) -> None:
    """Record every collision, and what is allowed but looks like a slip."""
    _same_address(site, problems)
    for client in site.clients:
        _interfaces(client, problems)
        for tunnel in client.tunnels:
            _prefixes_of_one(tunnel, problems)
    by_server = defaultdict(list)
    for client in site.clients:
        by_server[client.server].append(client)
    for name, clients in by_server.items():
        tunnels = [(client.host, tunnel) for client in clients for tunnel in client.tunnels]
        for (host_a, a), (host_b, b) in combinations(tunnels, 2):
            _pair(a, b, problems, same_client=host_a == host_b)
        server = site.servers.get(name)
        if server:
            for _host, tunnel in tunnels:
                _covers_server(tunnel, {server.public_address, server.bind_address}, name, problems)


def _same_address(site: Site, problems: Problems) -> None:
    for a, b in combinations(site.servers.values(), 2):
        if a.public_address == b.public_address:
            where = f"{b.host}: mpquic_public_address"
            problems.clash(where, b.public_address, f"already the address of {a.host}")


def _interfaces(client: Client, problems: Problems) -> None:
    """Check that WANs, LANs and TUNs of a client are different interfaces."""
    wans: dict[str, Tunnel] = {}
    for tunnel in client.tunnels:
        first = wans.setdefault(tunnel.wan, tunnel)
        if first is not tunnel:
            problems.warn(f"{tunnel.where}: wan", f"{tunnel.wan} also carries {first.where}")
    lans = {tunnel.lan: tunnel for tunnel in reversed(client.tunnels)}
    for tunnel in client.tunnels:
        if tunnel.lan in wans:
            problems.clash(f"{tunnel.where}: lan", tunnel.lan, f"already the wan of {wans[tunnel.lan].where}")
        for use, others in (("wan", wans), ("lan", lans)):
            if tunnel.tun_name in others:
                other = others[tunnel.tun_name].where
                problems.clash(f"{tunnel.where}: tun_name", tunnel.tun_name, f"already the {use} of {other}")


def _prefixes_of_one(tunnel: Tunnel, problems: Problems) -> None:
    """Check the prefixes within one tunnel."""
    for a, b in combinations(tunnel.lan_cidrs, 2):
        if _overlap(a, b):
            problems.clash(f"{tunnel.where}: lan_cidrs", b, f"overlaps {a} of the same tunnel")
    for lan in tunnel.lan_cidrs:
        if _overlap(lan, tunnel.tun_cidr):
            problems.clash(f"{tunnel.where}: lan_cidrs", lan, f"overlaps tun_cidr {tunnel.tun_cidr} of the same tunnel")


def _pair(a: Tunnel, b: Tunnel, problems: Problems, *, same_client: bool) -> None:
    """Compare two tunnels of one VPS."""
    if a.id == b.id:
        # Everything that follows the number collides too; one line says it.
        problems.clash(f"{b.where}: id", b.id, f"already used by {a.where}")
        return
    for key in _PER_SERVER + (_PER_CLIENT if same_client else ()):
        if getattr(a, key) == getattr(b, key):
            problems.clash(f"{b.where}: {key}", getattr(b, key), f"already used by {a.where}")
    for key_b, network_b in _networks(b):
        for key_a, network_a in _networks(a):
            if _overlap(network_a, network_b):
                problems.clash(f"{b.where}: {key_b}", network_b, f"overlaps {key_a} {network_a} of {a.where}")


def _covers_server(tunnel: Tunnel, addresses: Iterable[IPAddress], name: str, problems: Problems) -> None:
    """Refuse a network that would draw the VPS's own address into the tunnel."""
    for key, network in _networks(tunnel):
        for address in addresses:
            if address in network:
                problems.clash(f"{tunnel.where}: {key}", network, f"contains the address {address} of {name}")


def _networks(tunnel: Tunnel) -> Iterator[tuple[str, IPNetwork]]:
    yield "tun_cidr", tunnel.tun_cidr
    for network in tunnel.lan_cidrs:
        yield "lan_cidrs", network


def _overlap(a: IPNetwork, b: IPNetwork) -> bool:
    return bool(a.first <= b.last and b.first <= a.last)
