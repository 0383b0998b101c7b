# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Turns a checked site into the data the roles put on each host.

Keys come in a fixed order and entries in the order of their ids, so that a file changes only when its content does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import (
    class_render,
    guards,
    instances,
    multipath_render,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.instances import Tun

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import (
        Client,
        LanTunnel,
        Meter,
        Server,
        Site,
        Tunnel,
    )

_Tunnel = TypeVar("_Tunnel", bound="LanTunnel")


def hosts(site: Site) -> dict[str, dict[str, Any]]:
    """Return every host's part of the plan."""
    plan = {}
    for client in site.clients:
        plan[client.host] = _client(client, site.servers[client.server], certified=site.certified)
    for server in site.servers.values():
        clients = [client for client in site.clients if client.server == server.host]
        plan[server.host] = _server(server, clients, certified=site.certified)
    return plan


def _client(client: Client, server: Server, *, certified: bool) -> dict[str, Any]:
    tunnels = _by_id(() if client.legacy else client.tunnels)
    links = [] if client.legacy else sorted(client.links, key=lambda link: link.id)
    multipaths = _by_id(client.multipaths)
    by_key = bool(tunnels or links or multipaths) and not (certified or server.legacy)
    of_classes = class_render.client(client, links, server, certified=certified)
    return {
        "role": "client",
        "legacy": client.legacy,
        "server": server.host,
        # Whose keys this host has to know: the inventory does not say them, the roles fill them in.
        "peers": [{"name": server.host, "address": str(server.public_address)}] if by_key else [],
        "instances": [
            *(_client_instance(tunnel, server, certified=certified) for tunnel in tunnels),
            *of_classes.instances,
            *(multipath_render.client_instance(tunnel, server, certified=certified) for tunnel in multipaths),
        ],
        "nft": {
            "tuns": [*_tuns(tunnels), *of_classes.tuns, *_tuns(multipaths)],
            "masquerade": [],
            "guards": guards.of_client([*tunnels, *multipaths], links),
            **of_classes.nft,
        },
        **of_classes.files,
        **({"wans": {"wans": {name: _meter(meter) for name, meter in client.meters}}} if client.meters else {}),
    }


def _meter(meter: Meter) -> dict[str, Any]:
    said = {
        "quota": meter.quota,
        "billing_day": meter.billing_day,
        "warn": meter.warn and list(meter.warn),
        "metered": meter.metered,
    }
    return {key: value for key, value in said.items() if value is not None}


def _client_instance(tunnel: Tunnel, server: Server, *, certified: bool) -> dict[str, Any]:
    return instances.instance(
        tunnel.id,
        Tun(tunnel.tun_name, tunnel.client_address, tunnel.client_address6, tunnel.tun_mtu),
        head={
            "role": "client",
            "bind_ip": f"if:{tunnel.wan}",
            "remote_addr": str(server.public_address),
            "remote_port": tunnel.port,
        },
        running={"rate": tunnel.rates.up, "log_level": tunnel.log_level},
        tail={
            **instances.client_trust(server, certified=certified),
            "lan_routing": {
                "interface": tunnel.lan,
                "cidrs": instances.texts(tunnel.lan_cidrs),
                "table": tunnel.table,
                "priority": tunnel.priority,
            },
        },
    )


def _server(server: Server, clients: list[Client], *, certified: bool) -> dict[str, Any]:
    owners = {tunnel.where: client for client in clients for tunnel in (*client.tunnels, *client.multipaths)}
    tunnels = _by_id(() if server.legacy else tuple(tunnel for client in clients for tunnel in client.tunnels))
    multipaths = _by_id(tuple(tunnel for client in clients for tunnel in client.multipaths))
    by_key = [] if certified or server.legacy else [client for client in clients if not client.legacy]
    of_classes = class_render.server(server, () if server.legacy else clients, certified=certified)
    return {
        "role": "server",
        "legacy": server.legacy,
        "clients": [client.host for client in clients],
        "peers": [{"name": client.host} for client in by_key if client.tunnels or client.links or client.multipaths],
        "instances": [
            *(_server_instance(tunnel, owners[tunnel.where], server, certified=certified) for tunnel in tunnels),
            *of_classes.instances,
            *(
                multipath_render.server_instance(tunnel, owners[tunnel.where], server, certified=certified)
                for tunnel in multipaths
            ),
        ],
        "nft": {
            "tuns": [*_tuns(tunnels), *of_classes.tuns, *_tuns(multipaths)],
            "masquerade": [*_sources(tunnels), *of_classes.masquerade, *_sources(multipaths)],
            "guards": [],
            **of_classes.nft,
        },
        **of_classes.files,
    }


def _server_instance(tunnel: Tunnel, client: Client, server: Server, *, certified: bool) -> dict[str, Any]:
    return instances.server_end(
        tunnel.id,
        tunnel,
        client,
        server,
        running={"rate": tunnel.rates.down, "log_level": tunnel.log_level},
        certified=certified,
    )


def _tuns(tunnels: Iterable[LanTunnel]) -> list[str]:
    return [tunnel.tun_name for tunnel in tunnels]


def _sources(tunnels: Iterable[LanTunnel]) -> list[str]:
    """Return the networks of tunnels, which their VPS hides behind its own address."""
    found = []
    for tunnel in tunnels:
        found += [str(network) for network in (tunnel.tun_cidr, tunnel.tun_cidr6) if network is not None]
        found += instances.texts(tunnel.lan_cidrs)
    return found


def _by_id(tunnels: Iterable[_Tunnel]) -> list[_Tunnel]:
    return sorted(tunnels, key=lambda tunnel: tunnel.id)
