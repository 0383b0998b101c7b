# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads whose traffic a class link classifies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import keys, values
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import Lan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Tunnel
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

_KEYS = ("name", "cidrs")
_EXAMPLE = "{name: enp7s9, cidrs: [192.168.9.0/24]}"


def read(
    entry: Mapping[str, Any],
    where: str,
    tunnels: Sequence[Tunnel] | None,
    of_wan: Sequence[Tunnel],
    problems: Problems,
) -> tuple[Lan, ...]:
    """Read the LANs of a link; those of its WAN's tunnels when it names none.

    ``tunnels`` is None when some tunnels of the client could not be read: then nobody can say which LANs there are.
    """
    if "lans" not in entry:
        if not of_wan and tunnels is not None and "wan" in entry:
            problems.missing(f"{where}: lans", "its LAN interfaces, since no entry of mpquic_tunnels has this wan")
        names = dict.fromkeys(tunnel.lan for tunnel in of_wan)
        return tuple(_of_tunnels(name, "lans", of_wan) for name in names)
    value = entry["lans"]
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        problems.unexpected(f"{where}: lans", value, f"a list of at least one LAN such as enp7s1 or {_EXAMPLE}")
        return ()
    found: dict[str, Lan] = {}
    for index, item in enumerate(value):
        lan = _lan(item, where, f"lans[{index}]", tunnels, problems)
        if lan and lan.interface in found:
            problems.clash(f"{where}: {lan.key}", lan.interface, "already in the list")
        elif lan:
            found[lan.interface] = lan
    return tuple(found.values())


def _lan(item: object, where: str, key: str, tunnels: Sequence[Tunnel] | None, problems: Problems) -> Lan | None:
    if isinstance(item, Mapping):
        return _with_prefixes(item, where, key, problems)
    name = values.interface(item, f"{where}: {key}", problems)
    if name is None:
        return None
    lan = _of_tunnels(name, key, tunnels or ())
    if not lan.cidrs and tunnels is not None:
        problems.unexpected(f"{where}: {key}", name, f"a lan of mpquic_tunnels, or a mapping such as {_EXAMPLE}")
    return lan


def _with_prefixes(item: Mapping[str, Any], link_where: str, key: str, problems: Problems) -> Lan | None:
    errors_before = len(problems.errors)
    where = f"{link_where}: {key}"
    keys.refuse_unknown(item, where, _KEYS, problems)
    name = None
    cidrs: tuple[IPNetwork | None, ...] = ()
    if "name" in item:
        name = values.interface(item["name"], f"{where}: name", problems)
    else:
        problems.missing(f"{where}: name", "the interface of the LAN")
    if "cidrs" in item:
        cidrs = keys.lan_cidrs(item["cidrs"], f"{where}: cidrs", problems)
    else:
        problems.missing(f"{where}: cidrs", "the prefixes behind it such as [192.168.9.0/24]")
    if name is None or len(problems.errors) != errors_before:
        return None
    return Lan(key, name, tuple(network for network in cidrs if network is not None), own=True)


def _of_tunnels(name: str, key: str, tunnels: Iterable[Tunnel]) -> Lan:
    """Return a LAN with the prefixes that tunnels without classes have on it."""
    cidrs = tuple(network for tunnel in tunnels if tunnel.lan == name for network in tunnel.lan_cidrs)
    return Lan(key, name, cidrs, own=False)
