# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. By which TUN devices a LAN may leave, also when its rules are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.instances import texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import ClassLink
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import LanTunnel


def of_client(tunnels: Sequence[LanTunnel], links: Sequence[ClassLink]) -> list[dict[str, Any]]:
    """Return the guards of a client. A prefix may leave by the TUNs of all entries that have it or a part of it."""
    found = []
    seen: set[tuple[str, IPNetwork]] = set()
    for tunnel in tunnels:
        seen |= {(tunnel.lan, network) for network in tunnel.lan_cidrs}
        found += _guards(
            tunnel.lan,
            [
                (network, (tunnel.tun_name, *_of_links(tunnel.lan, network, links)))
                for network in sorted(tunnel.lan_cidrs)
            ],
        )
    for link in links:
        for lan in link.lans:
            new = [network for network in sorted(lan.cidrs) if (lan.interface, network) not in seen]
            seen |= {(lan.interface, network) for network in new}
            ways = [
                (
                    network,
                    (*_of_tunnels(lan.interface, network, tunnels), *_of_links(lan.interface, network, links)),
                )
                for network in new
            ]
            found += _guards(lan.interface, ways)
    return found


def _guards(interface: str, ways: Iterable[tuple[IPNetwork, tuple[str, ...]]]) -> list[dict[str, Any]]:
    """Return one guard for all prefixes that may leave by the same TUNs."""
    by_tuns: dict[tuple[str, ...], list[IPNetwork]] = {}
    for network, tuns in ways:
        by_tuns.setdefault(tuns, []).append(network)
    return [
        {"interface": interface, "cidrs": texts(networks), "tuns": list(tuns)} for tuns, networks in by_tuns.items()
    ]


def _of_links(interface: str, network: IPNetwork, links: Iterable[ClassLink]) -> list[str]:
    return [
        item.tun_name
        for link in links
        if any(_meet(network, other) for lan in link.lans if lan.interface == interface for other in lan.cidrs)
        for item in link.classes
    ]


def _of_tunnels(interface: str, network: IPNetwork, tunnels: Iterable[LanTunnel]) -> list[str]:
    return [
        tunnel.tun_name
        for tunnel in tunnels
        if tunnel.lan == interface and any(_meet(network, other) for other in tunnel.lan_cidrs)
    ]


def _meet(a: IPNetwork, b: IPNetwork) -> bool:
    return a in b or b in a
