# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What two instances of one host may both want, read from their configurations."""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network
    Config = Mapping[str, Any]


@functools.lru_cache(maxsize=65536)
def network(text: str) -> Network:
    """Return the network that an address with its prefix length is in, or that a prefix is."""
    return ipaddress.ip_network(text, strict=False)


def overlap(one: str, other: str) -> bool:
    """Tell whether two prefixes have an address in common."""
    a, b = network(one), network(other)
    return a.version == b.version and a.overlaps(b)


def overlaps_any(one: str, others: Iterable[str]) -> bool:
    """Tell whether a prefix has an address in common with one of others."""
    return any(overlap(one, other) for other in others)


def alone(address: str) -> str:
    """Return an address with its prefix length as a prefix of its own."""
    return str(ipaddress.ip_network(ipaddress.ip_interface(address).ip))


def ports(config: Config) -> list[int]:
    """Return the ports of a server, its own first."""
    return [config["remote_port"], *(_also(config).get("ports") or ())]


def addresses(config: Config) -> list[str]:
    """Return the addresses of an instance's TUN, with their prefix lengths."""
    own = [config[key] for key in ("tun_cidr", "tun_cidr6") if config.get(key)]
    return [*own, *(_also(config).get("tun_cidrs") or ())]


def lan(config: Config) -> dict[str, Any]:
    """Return how the LAN of an instance is routed, nothing for one without."""
    return dict(config.get("lan_routing") or {})


def led(config: Config) -> list[str]:
    """Return the prefixes that choose an instance by themselves: none while it stands by, or a mark chooses."""
    found = lan(config)
    return [] if found.get("standby") or "mark" in found else list(found.get("cidrs") or ())


def peers(config: Config) -> list[dict[str, Any]]:
    """Return the peers of a server."""
    return [*(config.get("peers") or ()), *(config.get("legacy_peers") or ())]


def clash(one: Config, other: Config) -> bool:
    """Tell whether two instances cannot be on one host, whatever their LANs are."""
    if one.get("tun_name") == other.get("tun_name"):
        return True
    if any(overlap(a, b) for a in addresses(one) for b in addresses(other)):
        return True
    if one.get("role") == "server":
        return one.get("bind_ip") == other.get("bind_ip") and not set(ports(one)).isdisjoint(ports(other))
    a, b = lan(one), lan(other)
    if any(key in a and a[key] == b.get(key) for key in ("table", "priority", "mark")):
        return True
    marked = "mark" in a and "mark" in b
    return not marked and not set(_far_ends(one)).isdisjoint(_far_ends(other))


def _also(config: Config) -> Mapping[str, Any]:
    return config.get("also") or {}


def _far_ends(config: Config) -> Iterator[tuple[Any, Any]]:
    for path in config.get("multipath_paths") or [config]:
        yield path.get("remote_addr"), path.get("remote_port")
