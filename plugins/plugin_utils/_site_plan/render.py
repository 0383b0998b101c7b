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
CA = "/etc/mpquic/ca.pem"


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
    by_key = bool(tunnels) and not (certified or server.legacy)
    return {
        "role": "client",
        "legacy": client.legacy,
        "server": server.host,
        # Whose keys this host has to know: the inventory does not say them, the roles fill them in.
        "peers": [{"name": server.host, "address": str(server.public_address)}] if by_key else [],
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
                    **_identity(certified=certified and not server.legacy),
                    **_trusted(server, certified=certified),
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


def _trusted(server: Server, *, certified: bool) -> dict[str, Any]:
    """Return by what a client knows its VPS, as far as the inventory says it."""
    if server.legacy:
        return {"legacy_server": True, "tls_server_pin": list(server.legacy_pins)}
    return {"tls_server_name": server.host} if certified else {}


def _server(server: Server, clients: list[Client], *, certified: bool) -> dict[str, Any]:
    owners = {tunnel.id: client for client in clients for tunnel in client.tunnels}
    tunnels = _by_id(() if server.legacy else tuple(tunnel for client in clients for tunnel in client.tunnels))
    known = [] if certified or server.legacy else [client for client in clients if client.tunnels and not client.legacy]
    return {
        "role": "server",
        "legacy": server.legacy,
        "clients": [client.host for client in clients],
        "peers": [{"name": client.host} for client in known],
        "instances": [
            _instance(
                tunnel,
                address=tunnel.server_address,
                rate=tunnel.rates.down,
                head={"role": "server", "bind_ip": str(server.bind_address), "remote_port": tunnel.port},
                tail={
                    **_identity(certified=certified),
                    **_peers(tunnel, owners[tunnel.id], certified=certified),
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


def _identity(*, certified: bool) -> dict[str, str]:
    """Return the files by which a host shows who it is, and by which it knows others in CA mode."""
    return {"tls_cert_file": CERTIFICATE, "tls_key_file": KEY, **({"tls_ca_file": CA} if certified else {})}


def _peers(tunnel: Tunnel, client: Client, *, certified: bool) -> dict[str, Any]:
    """Return who may connect to the server's end of a tunnel, and what it owns."""
    address = tunnel.client_address.partition("/")[0]
    budget = {"budget_rate": tunnel.budget.rate, "budget_packets": tunnel.budget.packets}
    limits = {key: value for key, value in budget.items() if value is not None}
    if client.legacy:
        networks = [str(network) for network in client.legacy_from]
        peer = {"name": client.host, "address": address, "from": networks, "allowed": _cidrs(tunnel), **limits}
        return {"legacy_peers": [peer]}
    names = {"cert_names": [client.host]} if certified else {}
    return {"peers": [{"name": client.host, **names, "allowed": [f"{address}/32", *_cidrs(tunnel)], **limits}]}


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
