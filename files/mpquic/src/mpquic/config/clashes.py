# SPDX-License-Identifier: GPL-3.0-or-later
"""Contradictions between instance files that are to run on one host."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.config.model import InstanceConfig, LanRouting

_ANY = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def between(files: Sequence[tuple[str, InstanceConfig]]) -> Iterator[str]:
    """Yield one line for every pair of files that want the same thing; ``files`` holds (name, configuration)."""
    for (name_a, a), (name_b, b) in combinations(files, 2):
        for key, found in _pair(a, b):
            yield f"{name_b}: {key}: found {found}, expected something else than in {name_a}"


def _pair(a: InstanceConfig, b: InstanceConfig) -> Iterator[tuple[str, str]]:
    if a.role == b.role == "server" and _same_place(a, b):
        others = {port for _key, port in _ports(a)}
        yield from ((key, f"{port} on {b.bind_ip}") for key, port in _ports(b) if port in others)
    # The tunnels of the classes of one link meet there.
    if a.role == b.role == "client" and not (_marked(a) and _marked(b)):
        far = {(remote, port) for _key, remote, port in _far_ends(a)}
        for key, remote, port in _far_ends(b):
            if (remote, port) in far:
                yield key, f"{port} on {remote}"
    if a.tun_name == b.tun_name:
        yield "tun_name", b.tun_name
    for key, own in _addresses(b):
        for _key, other in _addresses(a):
            if own.version == other.version and own.network.overlaps(other.network):
                yield key, f"{own} (overlaps {other})"
    if a.lan_routing is not None and b.lan_routing is not None:
        yield from _lan(a.lan_routing, b.lan_routing)


def _lan(a: LanRouting, b: LanRouting) -> Iterator[tuple[str, str]]:
    for key in ("table", "priority", "mark"):
        value = getattr(b, key)
        if value is not None and value == getattr(a, key):
            yield f"lan_routing.{key}", f"{value:#010x}" if key == "mark" else str(value)
    if a.mark is not None or b.mark is not None or a.standby or b.standby:
        # Such prefixes choose no tunnel: the mark does, or nothing.
        return
    for net_a in a.cidrs:
        for net_b in b.cidrs:
            if net_a.version == net_b.version and net_a.overlaps(net_b):
                yield "lan_routing.cidrs", f"{net_b} (overlaps {net_a})"


def _ports(config: InstanceConfig) -> Iterator[tuple[str, int]]:
    """Yield each port of a server, after the key that says so."""
    yield "remote_port", config.remote_port
    if config.also is not None:
        yield from ((f"also.ports[{index}]", port) for index, port in enumerate(config.also.ports))


def _far_ends(config: InstanceConfig) -> Iterator[tuple[str, str | None, int]]:
    """Yield each place of a server that a client connects to, once, after the key that says so."""
    if config.multipath is None:
        yield "remote_port", config.remote_addr, config.remote_port
        return
    seen = set()
    for index, path in enumerate(config.multipath.paths):
        place = path.remote_addr, path.remote_port
        if place not in seen:
            seen.add(place)
            yield f"multipath_paths[{index}].remote_port", *place


def _marked(config: InstanceConfig) -> bool:
    return config.lan_routing is not None and config.lan_routing.mark is not None


def _addresses(config: InstanceConfig) -> Iterator[tuple[str, IPv4Interface | IPv6Interface]]:
    yield "tun_cidr", config.tun_cidr
    if config.tun_cidr6 is not None:
        yield "tun_cidr6", config.tun_cidr6
    if config.also is not None:
        yield from ((f"also.tun_cidrs[{index}]", own) for index, own in enumerate(config.also.tun_cidrs))


def _same_place(a: InstanceConfig, b: InstanceConfig) -> bool:
    return a.bind_ip == b.bind_ip or bool({a.bind_ip.address, b.bind_ip.address} & _ANY)
