# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The parts of an instance that tunnels and classes have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import (
        Budget,
        Client,
        LanTunnel,
        Server,
    )

CERTIFICATE = "/etc/mpquic/identity/cert.pem"
KEY = "/etc/mpquic/identity/key.pem"
CA = "/etc/mpquic/ca.pem"


@dataclass(frozen=True)
class Tun:
    """A TUN device; its addresses have their prefix lengths."""

    name: str
    address: str
    address6: str | None
    mtu: int
    # Whom to ask for an echo, where the address itself does not say it.
    peer: str | None = None


def instance(
    name: int | str,
    tun: Tun,
    head: Mapping[str, Any],
    running: Mapping[str, Any],
    tail: Mapping[str, Any],
) -> dict[str, Any]:
    """Return one instance: the keys before and after those of its TUN. Of ``running``, what is None is left out."""
    address6 = {"tun_cidr6": tun.address6} if tun.address6 else {}
    peer = {"tun_peer": tun.peer} if tun.peer else {}
    return {
        "id": name,
        "config": {
            **head,
            "tun_name": tun.name,
            "tun_cidr": tun.address,
            **address6,
            **peer,
            "tun_mtu": tun.mtu,
            **{key: value for key, value in running.items() if value is not None},
            **tail,
        },
        "env": {
            "TUN_NAME": tun.name,
            "TUN_CIDR": tun.address,
            **({"TUN_CIDR6": tun.address6} if tun.address6 else {}),
            "TUN_MTU": str(tun.mtu),
        },
    }


def identity(*, certified: bool) -> dict[str, str]:
    """Return the files by which a host shows who it is, and by which it knows others in CA mode."""
    return {"tls_cert_file": CERTIFICATE, "tls_key_file": KEY, **({"tls_ca_file": CA} if certified else {})}


def client_trust(server: Server, *, certified: bool) -> dict[str, Any]:
    """Return who a client is, and by what it knows its VPS, as far as the inventory says it."""
    if server.legacy:
        return {**identity(certified=False), "legacy_server": True, "tls_server_pin": list(server.legacy_pins)}
    return {**identity(certified=certified), **({"tls_server_name": server.host} if certified else {})}


def peer(
    client: Client,
    name: str,
    addresses: Sequence[str],
    prefixes: Sequence[str],
    *,
    certified: bool,
) -> tuple[str, dict[str, Any]]:
    """Return a peer of a server instance, after the name of its list.

    ``addresses`` are those of its TUN, IPv4 first, ``prefixes`` what else is its own.
    """
    own, *others = addresses
    allowed = [*(f"{address}/128" for address in others), *prefixes]
    if client.legacy:
        networks = [str(network) for network in client.legacy_from]
        return "legacy_peers", {"name": name, "address": own, "from": networks, "allowed": allowed}
    names = {"cert_names": [client.host]} if certified else {}
    return "peers", {"name": name, **names, "allowed": [f"{own}/32", *allowed]}


def server_end(  # noqa: PLR0913 - who they are, and what is asked of them
    name: int | str,
    tunnel: LanTunnel,
    owner: Client,
    server: Server,
    *,
    running: Mapping[str, Any],
    certified: bool,
) -> dict[str, Any]:
    """Return the server's instance of a tunnel of which one client is the other end."""
    addresses = [address.partition("/")[0] for address in (tunnel.client_address, tunnel.client_address6) if address]
    kind, who = peer(owner, owner.host, addresses, texts(tunnel.lan_cidrs), certified=certified)
    return instance(
        name,
        Tun(tunnel.tun_name, tunnel.server_address, tunnel.server_address6, tunnel.tun_mtu),
        head={"role": "server", "bind_ip": str(server.bind_address), "remote_port": tunnel.port},
        running=running,
        tail={
            **identity(certified=certified),
            kind: [{**who, **limits(tunnel.budget)}],
            "lan_routing": {"cidrs": texts(tunnel.lan_cidrs)},
        },
    )


def limits(budget: Budget) -> dict[str, Any]:
    """Return the keys of a peer for its budget."""
    keys = {"budget_rate": budget.rate, "budget_packets": budget.packets}
    return {key: value for key, value in keys.items() if value is not None}


def texts(networks: Iterable[IPNetwork]) -> list[str]:
    """Return networks in order, as files have them."""
    return [str(network) for network in sorted(networks)]
