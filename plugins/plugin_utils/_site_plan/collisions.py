# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Compares the entries of a site: no two may claim one thing. Each message names both."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import class_collisions, multipath_collisions
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.claims import (
    Claim,
    at,
    of_key,
    of_tunnel,
    refuse_overlaps,
    same,
    same_number,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPAddress
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Client, LanTunnel, Site
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems


def find(site: Site, problems: Problems) -> None:
    """Record every collision, and what is allowed but looks like a slip."""
    _same_address(site, problems)
    for client in site.clients:
        _interfaces(client, problems)
        _numbers(client, problems)
        for tunnel in (*client.tunnels, *client.multipaths):
            _prefixes_of_one(tunnel, problems)
        class_collisions.of_client(client, problems)
        multipath_collisions.of_client(client, site.servers.get(client.server), problems)
    by_server: dict[str, list[Client]] = defaultdict(list)
    for client in site.clients:
        by_server[client.server].append(client)
    for name, clients in by_server.items():
        _of_server(clients, problems)
        class_collisions.of_server(clients, problems)
        multipath_collisions.of_server(clients, problems)
        server = site.servers.get(name)
        if server:
            tunnels = [tunnel for client in clients for tunnel in (*client.tunnels, *client.multipaths)]
            links = (claim for client in clients for claim in class_collisions.networks(client))
            claims = (*(claim for tunnel in tunnels for claim in of_tunnel(tunnel)), *links)
            _covers_server(claims, {server.public_address, server.bind_address}, name, problems)


def _same_address(site: Site, problems: Problems) -> None:
    first: dict[IPAddress, str] = {}
    for server in site.servers.values():
        other = first.setdefault(server.public_address, server.host)
        if other != server.host:
            where = f"{server.host}: mpquic_public_address"
            problems.clash(where, server.public_address, f"already the address of {other}")


def _interfaces(client: Client, problems: Problems) -> None:
    """Check that WANs, LANs and TUNs of a client are different interfaces."""
    wans: dict[str, str] = {}
    for tunnel in client.tunnels:
        first = wans.setdefault(tunnel.wan, tunnel.where)
        if first != tunnel.where:
            problems.warn(f"{tunnel.where}: wan", f"{tunnel.wan} also carries {first}")
    for link in client.links:
        wans.setdefault(link.wan, link.where)
    for path in (path for tunnel in client.multipaths for path in tunnel.paths):
        wans.setdefault(path.wan, path.where)
    lans = of_key((*client.tunnels, *client.multipaths), "lan")
    lans += [Claim(lan.interface, lan.key, link.where, link) for link in client.links for lan in link.lans if lan.own]
    first_lans: dict[str, str] = {}
    for lan in lans:
        first_lans.setdefault(lan.value, lan.where)
        if lan.value in wans:
            problems.clash(at(lan), lan.value, f"already the wan of {wans[lan.value]}")
    for tun in _tuns(client):
        for use, others in (("wan", wans), ("lan", first_lans)):
            if tun.value in others:
                problems.clash(at(tun), tun.value, f"already the {use} of {others[tun.value]}")


def _tuns(client: Client) -> Iterator[Claim]:
    """Yield the TUN devices of a client."""
    yield from of_key((*client.tunnels, *client.multipaths), "tun_name")
    for link in client.links:
        for item in link.classes:
            yield Claim(item.tun_name, "name and suffix", item.where, link)


def _numbers(client: Client, problems: Problems) -> None:
    """Check what must be unique on one client."""
    items = [(item, link) for link in client.links for item in link.classes]
    for key, of_class in (("table", "table"), ("priority", "rule_priority")):
        claims = of_key(client.tunnels, key)
        claims += [Claim(getattr(item, of_class), of_class, item.where, link) for item, link in items]
        claims += of_key(client.multipaths, of_class)
        same(claims, problems, same_number)
    # Two tunnels are told apart on their VPS.
    same(_tuns(client), problems, lambda a, b: a.key == b.key == "tun_name" or same_number(a, b))


def _prefixes_of_one(tunnel: LanTunnel, problems: Problems) -> None:
    """Check the prefixes within one tunnel."""
    for a, b in combinations(tunnel.lan_cidrs, 2):
        if a in b or b in a:
            problems.clash(f"{tunnel.where}: lan_cidrs", b, f"overlaps {a} of the same tunnel")
    for key, own in (("tun_cidr", tunnel.tun_cidr), ("tun_cidr6", tunnel.tun_cidr6)):
        for lan in tunnel.lan_cidrs:
            if own is not None and (lan in own or own in lan):
                problems.clash(f"{tunnel.where}: lan_cidrs", lan, f"overlaps {key} {own} of the same tunnel")


def _of_server(clients: Sequence[Client], problems: Problems) -> None:
    """Compare the tunnels of one VPS."""
    tunnels = [tunnel for client in clients for tunnel in client.tunnels]
    same(of_key(tunnels, "id"), problems, lambda _a, _b: False)
    for key in ("port", "tun_name"):
        same(of_key(tunnels, key), problems, same_number)
    networks = [claim for tunnel in tunnels for claim in of_tunnel(tunnel)]
    refuse_overlaps(networks, problems, lambda a, b: a.entry is b.entry or same_number(a, b))


def _covers_server(claims: Iterable[Claim], addresses: Iterable[IPAddress], name: str, problems: Problems) -> None:
    """Refuse a network that would draw the VPS's own address into the tunnel."""
    for claim in claims:
        for address in addresses:
            if address in claim.value:
                problems.clash(at(claim), claim.value, f"contains the address {address} of {name}")
