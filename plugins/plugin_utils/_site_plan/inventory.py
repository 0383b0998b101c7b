# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads the operator's variables into the model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import (
    class_inventory,
    exporters,
    keys,
    multipath_inventory,
    numbering,
    pages,
    trust,
    values,
    wans,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import (
    Client,
    Server,
    Site,
    Tunnel,
    Wan,
)

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

VARIABLES = (
    "mpquic_tunnels",
    class_inventory.VARIABLE,
    multipath_inventory.VARIABLE,
    wans.VARIABLE,
    "mpquic_server",
    "mpquic_public_address",
    "mpquic_bind_address",
    *trust.VARIABLES,
    *exporters.VARIABLES,
    *pages.VARIABLES,
)
#: What each is, as messages say it.
REQUIRED = {
    "id": "the tunnel's number",
    "wan": "the interface it leaves by",
    "lan": "the interface of its LAN",
}
OPTIONAL = (
    "lan_cidrs",
    "port",
    "tun_cidr",
    "tun_cidr6",
    "tun_name",
    "tun_mtu",
    "log_level",
    "table",
    "priority",
    *keys.RATES,
    *keys.BUDGET,
)


def read(
    clients: Sequence[str], servers: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], problems: Problems
) -> Site:
    """Read the hosts of the two groups."""
    if not clients:
        problems.missing("group mpquic_clients", "at least one client VM")
    if not servers:
        problems.missing("group mpquic_vps", "at least one VPS")
    problems.errors.extend(
        f"{host}: in both mpquic_clients and mpquic_vps, expected one of them" for host in clients if host in servers
    )
    for host in (*clients, *(host for host in servers if host not in clients)):
        _hint_at_misspellings(host, hostvars[host], problems)
    read_servers = {host: _server(host, hostvars[host], problems) for host in servers}
    read_clients = tuple(_client(host, hostvars[host], servers, problems) for host in clients)
    found = {host: server for host, server in read_servers.items() if server}
    trust.refuse_two_old_ends(read_clients, found, problems)
    return Site(read_clients, found, certified=trust.certified(clients, servers, hostvars, problems))


def _hint_at_misspellings(host: str, variables: Mapping[str, Any], problems: Problems) -> None:
    """Warn of a variable that looks like one of ours: Ansible itself would ignore it silently."""
    for name in variables:
        if name.startswith("mpquic_") and name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.85)
            if near:
                problems.warn(f"{host}: {name}", f"unknown variable, did you mean {near[0]}?")


def _server(host: str, variables: Mapping[str, Any], problems: Problems) -> Server | None:
    if "mpquic_public_address" not in variables:
        problems.missing(
            f"{host}: mpquic_public_address", "the IPv4 address at which clients reach it, such as 203.0.113.10"
        )
        return None
    public = values.address(variables["mpquic_public_address"], f"{host}: mpquic_public_address", problems)
    bind = public
    if "mpquic_bind_address" in variables:
        bind = values.address(variables["mpquic_bind_address"], f"{host}: mpquic_bind_address", problems)
    pins = trust.legacy_pins(host, variables, problems)
    return Server(host, public, bind, pins) if public and bind else None


def _client(host: str, variables: Mapping[str, Any], servers: Sequence[str], problems: Problems) -> Client:
    chosen = _chosen_server(host, variables, servers, problems)
    known_wans = wans.read(host, variables, problems)
    errors_before = len(problems.errors)
    tunnels = _tunnels(host, variables, known_wans, problems)
    # What a class link takes from tunnels is looked for only where all of them could be read.
    known = tunnels if len(problems.errors) == errors_before else None
    links = class_inventory.read(host, variables, known_wans, known, problems)
    multipaths = multipath_inventory.read(host, variables, known_wans, problems)
    if len(problems.errors) == errors_before:
        used = {tunnel.wan for tunnel in tunnels} | {link.wan for link in links}
        used.update(*(tunnel.wans for tunnel in multipaths))
        for wan in known_wans:
            if wan not in used:
                problems.warn(f"{host}: {wans.VARIABLE}[{wan}]", "no tunnel leaves by it")
    legacy_from = trust.legacy_from(host, variables, problems)
    meters = tuple((name, wan.meter) for name, wan in sorted(known_wans.items()) if wan.meter is not None)
    return Client(host, chosen, tunnels, links, multipaths, legacy_from, meters)


def _chosen_server(host: str, variables: Mapping[str, Any], servers: Sequence[str], problems: Problems) -> str:
    """Return the VPS of a client; the only one when there is no choice, an empty name when there is none to take."""
    where, known = f"{host}: mpquic_server", ", ".join(servers)
    if "mpquic_server" in variables:
        chosen = variables["mpquic_server"]
        if isinstance(chosen, str) and chosen in servers:
            return str(chosen)
        problems.unexpected(where, chosen, f"a host of the group mpquic_vps ({known})")
    elif len(servers) == 1:
        return servers[0]
    elif servers:
        problems.missing(where, f"one of the hosts of the group mpquic_vps ({known})")
    return ""


def _tunnels(
    host: str, variables: Mapping[str, Any], known_wans: Mapping[str, Wan], problems: Problems
) -> tuple[Tunnel, ...]:
    where, expected = f"{host}: mpquic_tunnels", "a list of tunnels such as {id: 1, wan: enp7s3, lan: enp6s20}"
    if "mpquic_tunnels" not in variables:
        if class_inventory.VARIABLE not in variables and multipath_inventory.VARIABLE not in variables:
            problems.missing(where, expected)
        return ()
    entries = keys.entries(variables["mpquic_tunnels"], where, expected, problems)
    found = (_tunnel(entry, place, known_wans, problems) for place, entry in entries)
    return tuple(tunnel for tunnel in found if tunnel)


def _tunnel(entry: object, where: str, known_wans: Mapping[str, Wan], problems: Problems) -> Tunnel | None:
    """Read one entry; None when a value of it is wrong."""
    if not isinstance(entry, Mapping):
        problems.unexpected(where, entry, "a mapping with the keys id, wan and lan")
        return None
    where = keys.with_id(entry, where)
    keys.refuse_unknown(entry, where, (*REQUIRED, *OPTIONAL), problems)
    errors_before = len(problems.errors)
    keys.require(entry, where, REQUIRED, problems)
    fields = _fields(entry, where, problems)
    keys.needs_of_ipv6(fields, numbering.tun_network6, where, problems)
    fields["budget"] = keys.budget(entry, where, problems)
    fields["rates"] = keys.rates(entry, where, known_wans.get(str(fields.get("wan")), Wan()).rates, problems)
    return Tunnel(where=where, **fields) if len(problems.errors) == errors_before else None


def _fields(entry: Mapping[str, Any], where: str, problems: Problems) -> dict[str, Any]:
    """Read every value that is given, and put the numbering's defaults in place of the others."""
    i = keys.number(entry, where, numbering.IDS, problems)
    fields: dict[str, Any] = {
        "id": i,
        "lan_cidrs": (numbering.lan_network(i),),
        "port": numbering.port(i),
        "tun_cidr": numbering.tun_network(i),
        "tun_name": numbering.tun_name(i),
        "tun_mtu": numbering.TUN_MTU,
        "log_level": numbering.LOG_LEVEL,
        "table": numbering.table(i),
        "priority": numbering.priority(i),
    }
    for key in ("wan", "lan", "tun_name"):
        if key in entry:
            fields[key] = values.interface(entry[key], f"{where}: {key}", problems)
    integers = {"port": keys.PORTS, "tun_mtu": keys.MTUS, "table": keys.TABLES, "priority": keys.PRIORITIES}
    fields |= keys.given(entry, where, values.integer, integers, problems)
    fields |= keys.given(entry, where, values.choice, {"log_level": keys.LOG_LEVELS}, problems)
    fields |= keys.given(entry, where, values.network, {"tun_cidr": keys.TUN, "tun_cidr6": keys.TUN6}, problems)
    if "lan_cidrs" in entry:
        fields["lan_cidrs"] = keys.lan_cidrs(entry["lan_cidrs"], f"{where}: lan_cidrs", problems)
    return fields
