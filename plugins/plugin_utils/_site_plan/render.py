# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Turns a checked site into the data the roles put on each host.

Keys come in a fixed order and entries in the order of their ids, so that a file changes only when its content does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Client, Server, Site, Tunnel

CERTIFICATE = "/etc/mpquic/identity/cert.pem"
KEY = "/etc/mpquic/identity/key.pem"


def hosts(site: Site) -> dict[str, dict[str, Any]]:
    """Return every host's part of the plan."""
    plan = {client.host: _client(client, site.servers[client.server]) for client in site.clients}
    for server in site.servers.values():
        plan[server.host] = _server(server, [client for client in site.clients if client.server == server.host])
    return plan


def _client(client: Client, server: Server) -> dict[str, Any]:
    tunnels = _by_id(client.tunnels)
    return {
        "role": "client",
        "server": server.host,
        "instances": [
            _instance(
                tunnel,
                address=tunnel.client_address,
                rate=tunnel.rates.up,
                head={
                    "role": "client",
                    "bind_ip": f"if:{tunnel.wan}",
                    "remote_addr": str(server.public_address),
                    "remote_port": tunnel.port,
                },
                tail={
                    "lan_routing": {
                        "interface": tunnel.lan,
                        "cidrs": _cidrs(tunnel),
                        "table": tunnel.table,
                        "priority": tunnel.priority,
                    },
                },
            )
            for tunnel in tunnels
        ],
        "nft": {
            "tuns": [tunnel.tun_name for tunnel in tunnels],
            "masquerade": [],
            "guards": [
                {"interface": tunnel.lan, "cidrs": _cidrs(tunnel), "tun": tunnel.tun_name} for tunnel in tunnels
            ],
        },
    }


def _server(server: Server, clients: list[Client]) -> dict[str, Any]:
    tunnels = _by_id(tuple(tunnel for client in clients for tunnel in client.tunnels))
    return {
        "role": "server",
        "clients": [client.host for client in clients],
        "instances": [
            _instance(
                tunnel,
                address=tunnel.server_address,
                rate=tunnel.rates.down,
                head={"role": "server", "bind_ip": str(server.bind_address), "remote_port": tunnel.port},
                tail={
                    "tls_cert_file": CERTIFICATE,
                    "tls_key_file": KEY,
                    "lan_routing": {"cidrs": _cidrs(tunnel)},
                },
            )
            for tunnel in tunnels
        ],
        "nft": {
            "tuns": [tunnel.tun_name for tunnel in tunnels],
            "masquerade": [cidr for tunnel in tunnels for cidr in (str(tunnel.tun_cidr), *_cidrs(tunnel))],
            "guards": [],
        },
    }


def _instance(
    tunnel: Tunnel, *, address: str, rate: str | None, head: dict[str, Any], tail: dict[str, Any]
) -> dict[str, Any]:
    tun = {"tun_name": tunnel.tun_name, "tun_cidr": address, "tun_mtu": tunnel.tun_mtu}
    return {
        "id": tunnel.id,
        "config": {**head, **tun, **({"rate": rate} if rate else {}), "log_level": tunnel.log_level, **tail},
        "env": {"TUN_NAME": tunnel.tun_name, "TUN_CIDR": address, "TUN_MTU": str(tunnel.tun_mtu)},
    }


def _by_id(tunnels: tuple[Tunnel, ...]) -> list[Tunnel]:
    return sorted(tunnels, key=lambda tunnel: tunnel.id)


def _cidrs(tunnel: Tunnel) -> list[str]:
    return [str(network) for network in sorted(tunnel.lan_cidrs)]
