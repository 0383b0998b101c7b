# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads ``mpquic_multipath_tunnels`` into the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import (
    dataplane,
    keys,
    multipath_paths,
    numbering,
    values,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.multipath_model import MultipathTunnel

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Wan
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

VARIABLE = "mpquic_multipath_tunnels"
#: What each is, as messages say it.
REQUIRED = {
    "id": "the tunnel's number",
    "lan": "the interface of its LAN",
    "lan_cidrs": "the prefixes behind it such as [172.16.6.0/30]",
    "paths": "the WANs it leaves by such as [{wan: enp7s3}, {wan: enp7s4}]",
}
OPTIONAL = (
    "policy",
    "dataplane",
    "port",
    "tun_name",
    "tun_cidr",
    "tun_cidr6",
    "tun_mtu",
    "log_level",
    "telemetry_interval",
    "table",
    "rule_priority",
    *keys.BUDGET,
)
_INTERVALS = range(3601)


def read(
    host: str, variables: Mapping[str, Any], wans: Mapping[str, Wan], problems: Problems
) -> tuple[MultipathTunnel, ...]:
    """Read the multipath tunnels of a client. ``wans`` is what is known of its WANs."""
    expected = "a list of tunnels such as {id: 1, lan: enp7s2, lan_cidrs: [172.16.6.0/30], paths: [...]}"
    entries = keys.entries(variables.get(VARIABLE, []), f"{host}: {VARIABLE}", expected, problems)
    found = (_tunnel(entry, where, wans, problems) for where, entry in entries)
    return tuple(tunnel for tunnel in found if tunnel)


def _tunnel(entry: object, where: str, wans: Mapping[str, Wan], problems: Problems) -> MultipathTunnel | None:
    """Read one entry; None when a value of it is wrong."""
    if not isinstance(entry, Mapping):
        problems.unexpected(where, entry, f"a mapping with the keys {', '.join(REQUIRED)}")
        return None
    where = keys.with_id(entry, where)
    keys.refuse_unknown(entry, where, (*REQUIRED, *OPTIONAL), problems)
    errors_before = len(problems.errors)
    keys.require(entry, where, REQUIRED, problems)
    fields = _fields(entry, where, problems)
    keys.needs_of_ipv6(fields, numbering.multipath_network6, where, problems)
    fields["budget"] = keys.budget(entry, where, problems)
    fields["paths"] = multipath_paths.read(entry["paths"], where, wans, problems) if "paths" in entry else ()
    fields["dataplane"] = None
    if "dataplane" in entry:
        names = multipath_paths.names(entry.get("paths"))
        fields["dataplane"] = dataplane.read(entry["dataplane"], f"{where}: dataplane", names, problems)
    if len(problems.errors) != errors_before:
        return None
    tunnel = MultipathTunnel(where=where, **fields)
    multipath_paths.compare(tunnel, problems)
    dataplane.compare(tunnel, problems)
    return tunnel


def _fields(entry: Mapping[str, Any], where: str, problems: Problems) -> dict[str, Any]:
    """Read the values that need no others, and put the numbering's defaults in place of those that are not there."""
    n = keys.number(entry, where, numbering.MULTIPATH_IDS, problems)
    fields: dict[str, Any] = {
        "id": n,
        "lan": None,
        "lan_cidrs": (),
        "port": numbering.multipath_port(n),
        "tun_name": numbering.multipath_tun_name(n),
        "tun_cidr": numbering.multipath_network(n),
        "tun_mtu": numbering.TUN_MTU,
        "log_level": numbering.LOG_LEVEL,
        "table": numbering.multipath_table(n),
        "rule_priority": numbering.multipath_priority(n),
        "policy": dataplane.POLICIES[0],
        "telemetry_interval": None,
    }
    if "lan" in entry:
        fields["lan"] = values.interface(entry["lan"], f"{where}: lan", problems)
    if "lan_cidrs" in entry:
        fields["lan_cidrs"] = keys.lan_cidrs(entry["lan_cidrs"], f"{where}: lan_cidrs", problems)
    if "tun_name" in entry:
        fields["tun_name"] = values.instance_name(entry["tun_name"], f"{where}: tun_name", problems)
    integers = {
        "port": keys.PORTS,
        "tun_mtu": keys.MTUS,
        "table": keys.TABLES,
        "rule_priority": keys.PRIORITIES,
        "telemetry_interval": _INTERVALS,
    }
    fields |= keys.given(entry, where, values.integer, integers, problems)
    words = {"log_level": keys.LOG_LEVELS, "policy": dataplane.POLICIES}
    fields |= keys.given(entry, where, values.choice, words, problems)
    fields |= keys.given(entry, where, values.network, {"tun_cidr": keys.TUN, "tun_cidr6": keys.TUN6}, problems)
    return fields
