# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What class links bring to the hosts. What there is nothing of is left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import instances, matches, shaping
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import by_port
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.instances import Tun
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.keys import LOG_LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import (
        ClassLink,
        Match,
        TrafficClass,
    )
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Client, Server


@dataclass(frozen=True)
class Part:
    """What class links add to a host's part of the plan; ``files`` are keys beside ``instances`` and ``nft``."""

    instances: list[dict[str, Any]] = field(default_factory=list)
    tuns: list[str] = field(default_factory=list)
    masquerade: list[str] = field(default_factory=list)
    nft: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)


def client(host: Client, links: Sequence[ClassLink], vps: Server, *, certified: bool) -> Part:
    """Return what the class links of a client bring to it."""
    if not links:
        return Part()
    classes = [(link, item) for link in links for item in link.classes]
    nft = {
        "nat_tuns": [item.tun_name for _link, item in classes if item.nat],
        "classify": {"links": [_classified(link) for link in links]},
        "shape": [entry for link in links if link.rates.up for entry in shaping.of_client(link, host)],
    }
    shaped = [shaping.link(link, f"if:{link.wan}", link.rates.up, default=True) for link in links if link.rates.up]
    return Part(
        instances=[_client_instance(link, item, vps, certified=certified) for link, item in classes],
        tuns=[item.tun_name for _link, item in classes],
        nft={key: value for key, value in nft.items() if value},
        files={
            "classes": {"links": [_explained(link, vps) for link in links]},
            **({"shaper": {"links": shaped}} if shaped else {}),
        },
    )


def server(vps: Server, clients: Sequence[Client], *, certified: bool) -> Part:
    """Return what the class links of all its clients bring to a VPS."""
    groups = sorted(by_port(clients).values(), key=lambda members: (members[0][1].id, members[0][1].port))
    # Nobody marks the packets to a legacy client, so there is nothing to tell them apart by.
    shaped = [(owner, link) for members in groups for owner, link in members if link.rates.down and not owner.legacy]
    files = [shaping.link(link, str(vps.bind_address), link.rates.down, default=False) for _owner, link in shaped]
    shape = [entry for owner, link in shaped for entry in shaping.of_server(link, owner)]
    return Part(
        instances=[_server_instance(members, vps, certified=certified) for members in groups],
        tuns=[members[0][1].server_tun for members in groups],
        masquerade=[text for members in groups for text in _sources(members)],
        nft={"shape": shape} if shape else {},
        files={"shaper": {"links": files}} if files else {},
    )


def _client_instance(link: ClassLink, item: TrafficClass, vps: Server, *, certified: bool) -> dict[str, Any]:
    return instances.instance(
        item.tun_name,
        Tun(item.tun_name, *_addresses(link, item), link.tun_mtu, link.server_address),
        head={
            "role": "client",
            "bind_ip": f"if:{link.wan}",
            "remote_addr": str(vps.public_address),
            "remote_port": link.port,
        },
        running={"rate": link.rates.up, "outer_dscp": item.outer_dscp or None, "log_level": link.log_level},
        tail={
            **instances.client_trust(vps, certified=certified),
            "lan_routing": {
                "cidrs": [] if item.nat else instances.texts(link.lan_cidrs),
                "mark": link.mark(item),
                "table": item.table,
                "priority": item.rule_priority,
            },
        },
    )


def _server_instance(members: Sequence[tuple[Client, ClassLink]], vps: Server, *, certified: bool) -> dict[str, Any]:
    """Return the instance in which all classes of these links meet."""
    first = members[0][1]
    address6 = next((link.server_address6 for _owner, link in members if link.network6 is not None), None)
    network6 = next((link.network6 for _owner, link in members if link.network6 is not None), None)
    peers: dict[str, list[dict[str, Any]]] = {}
    owners = {}
    for owner, link in members:
        # The first that is connected gets what comes for a shared prefix without a flow.
        for item in (link.default, *(item for item in link.classes if not item.default)):
            kind, peer = _peer(owner, link, item, certified=certified)
            peers.setdefault(kind, []).append(peer)
            if not owner.legacy:
                owners[peer["name"]] = owner.host
    routed = {network for _owner, link in members if link.routed for network in link.lan_cidrs}
    return {
        **instances.instance(
            first.server_tun,
            Tun(
                first.server_tun,
                f"{first.server_address}/{first.network.prefixlen}",
                f"{address6}/{network6.prefixlen}" if network6 is not None else None,
                first.tun_mtu,
            ),
            head={
                "role": "server",
                "multi_conn_enabled": True,
                "bind_ip": str(vps.bind_address),
                "remote_port": first.port,
            },
            running={
                "rate": first.rates.down,
                # The one that says most.
                "log_level": min((link.log_level for _owner, link in members), key=LOG_LEVELS.index),
            },
            tail={
                **instances.identity(certified=certified),
                **peers,
                **({"lan_routing": {"cidrs": instances.texts(routed)}} if routed else {}),
            },
        ),
        "owners": owners,
    }


def _peer(owner: Client, link: ClassLink, item: TrafficClass, *, certified: bool) -> tuple[str, dict[str, Any]]:
    addresses = [address for address in (link.address(item), link.address6(item)) if address]
    outside = {} if owner.legacy or not item.outer_dscp else {"outer_dscp": item.outer_dscp}
    shared = {} if item.nat else {"shared": instances.texts(link.lan_cidrs)}
    kind, peer = instances.peer(owner, f"{owner.host}.{item.tun_name}", addresses, [], certified=certified)
    return kind, {**peer, **shared, **outside, **instances.limits(link.budget)}


def _addresses(link: ClassLink, item: TrafficClass) -> tuple[str, str | None]:
    address6 = link.address6(item)
    return f"{link.address(item)}/32", f"{address6}/128" if address6 else None


def _sources(members: Sequence[tuple[Client, ClassLink]]) -> list[str]:
    """Return what comes out of a link's TUN on the VPS, which hides it behind its own address."""
    tuns = {network for _owner, link in members for network in (link.network, link.network6) if network is not None}
    lans = {network for _owner, link in members if link.routed for network in link.lan_cidrs}
    return [*instances.texts(tuns), *instances.texts(lans)]


def _classified(link: ClassLink) -> dict[str, Any]:
    """Return what nftables has to know of a link."""
    return {
        "name": link.server_tun,
        "lans": _lans(link),
        "classes": [
            {"name": item.tun_name, "tun": item.tun_name, "mark": link.mark(item), "matches": _matches(item)}
            for item in link.classes
        ],
        "default": link.default.tun_name,
    }


def _explained(link: ClassLink, vps: Server) -> dict[str, Any]:
    """Return what explains on the host itself where a packet goes."""
    classes = []
    for item in link.classes:
        address, address6 = _addresses(link, item)
        classes.append(
            {
                "name": item.tun_name,
                "tun": item.tun_name,
                "mark": link.mark(item),
                "table": item.table,
                "priority": item.rule_priority,
                "tun_cidr": address,
                **({"tun_cidr6": address6} if address6 else {}),
                "nat": item.nat,
                "outer_dscp": item.outer_dscp,
                "matches": _matches(item),
            }
        )
    return {
        "name": link.server_tun,
        "wan": link.wan,
        "remote_addr": str(vps.public_address),
        "port": link.port,
        "lans": _lans(link),
        "classes": classes,
        "default": link.default.tun_name,
    }


def _lans(link: ClassLink) -> list[dict[str, Any]]:
    return [
        {
            "interface": lan.interface,
            "cidrs4": instances.texts(network for network in lan.cidrs if network.version == 4),
            "cidrs6": instances.texts(network for network in lan.cidrs if network.version == 6),
        }
        for lan in link.lans
    ]


def _matches(item: TrafficClass) -> list[dict[str, Any]]:
    return [_match(match) for match in item.matches]


def _match(match: Match) -> dict[str, Any]:
    """Return a match with all its keys; an empty one is fitted by all packets."""
    return {
        "lan": list(match.lans),
        "protocol": [matches.protocol_name(number) for number in match.protocols],
        "src": instances.texts(match.src),
        "dst": instances.texts(match.dst),
        "sports": matches.port_names(match.sports),
        "dports": matches.port_names(match.dports),
        "dscp": list(match.dscp),
    }
