# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads where the hosts offer their metrics, and to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import trust, values

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

_ENABLED = "mpquic_metrics"
_ADDRESS = "mpquic_metrics_address"
_PORT = "mpquic_metrics_port"
_FROM = "mpquic_metrics_from"
_MONITORING = "mpquic_monitoring_address"
VARIABLES = (_ENABLED, _ADDRESS, _PORT, _FROM, _MONITORING)

_DEFAULT_PORT = 45900
_PORTS = range(1024, 65536)
_ASKING = values.Networks({4: range(8, 33), 6: range(16, 129)}, "198.51.100.0/24")


def read(
    hosts: Sequence[str], monitors: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], problems: Problems
) -> dict[str, dict[str, Any]]:
    """Return the exporter of each of ``hosts``, those with the Go implementation left out.

    ``monitors`` are the hosts that ask, where a host does not say itself who may.
    """
    asking = [
        str(found)
        for host in monitors
        if _MONITORING in hostvars[host]
        and (found := values.any_address(hostvars[host][_MONITORING], f"{host}: {_MONITORING}", problems))
    ]
    ours = [host for host in hosts if not set(trust.LEGACY) & hostvars[host].keys()]
    return {host: _exporter(host, hostvars[host], asking, problems) for host in ours}


def _exporter(host: str, variables: Mapping[str, Any], asking: Sequence[str], problems: Problems) -> dict[str, Any]:
    """Return whether a host has an exporter, where that listens, who may ask, and what Prometheus is to ask."""
    enabled = values.boolean(variables.get(_ENABLED, True), f"{host}: {_ENABLED}", problems)
    port = values.integer(variables.get(_PORT, _DEFAULT_PORT), f"{host}: {_PORT}", _PORTS, problems)
    asks = allowed(variables[_FROM], f"{host}: {_FROM}", problems) if _FROM in variables else list(asking)
    if _ADDRESS not in variables:
        return {"enabled": enabled, "address": "", "port": port, "from": [], "target": {}}
    address = values.any_address(variables[_ADDRESS], f"{host}: {_ADDRESS}", problems)
    if not asks and _FROM not in variables:
        problems.missing(f"{host}: {_FROM}", f"who may ask, or {_MONITORING} of a host of mpquic_monitoring")
    if address is None:
        return {}
    where = f"[{address}]" if address.version == 6 else str(address)
    return {
        "enabled": enabled,
        "address": str(address),
        "port": port,
        "from": asks,
        "target": {"host": host, "address": f"{where}:{port}"} if enabled else {},
    }


def allowed(value: object, where: str, problems: Problems) -> list[str]:
    """Read addresses and prefixes of who may ask; the former are given as networks of their own."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        whole = [_with_length(item) for item in value]
        return [str(found) for found in values.networks(whole, where, _ASKING, problems) if found]
    values.networks(value, where, _ASKING, problems)
    return []


def _with_length(item: object) -> object:
    """Return an address as the network that holds nothing else."""
    if isinstance(item, str) and "/" not in item:
        return f"{item}/{128 if ':' in item else 32}"
    return item
