# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The instances of multipath tunnels. What there is nothing of is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import dataplane, instances, matches
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.instances import Tun

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Client, Server
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.multipath_model import (
        Classifier,
        DataplaneClass,
        MultipathTunnel,
        Path,
    )


#: The class of a tunnel for which the inventory has none.
_ONLY = "default"


def client_instance(tunnel: MultipathTunnel, server: Server, *, certified: bool) -> dict[str, Any]:
    """Return the client's instance: every path goes to the one port of the VPS."""
    return instances.instance(
        tunnel.tun_name,
        Tun(tunnel.tun_name, tunnel.client_address, tunnel.client_address6, tunnel.tun_mtu),
        head={
            "role": "client",
            "multipath_enabled": True,
            "multipath_policy": tunnel.policy,
            "multipath_paths": [_path(path, tunnel, server) for path in tunnel.paths],
            **_dataplane(tunnel),
        },
        running=_running(tunnel),
        tail={
            **instances.client_trust(server, certified=certified),
            "lan_routing": {
                "interface": tunnel.lan,
                "cidrs": instances.texts(tunnel.lan_cidrs),
                "table": tunnel.table,
                "priority": tunnel.rule_priority,
            },
        },
    )


def server_instance(tunnel: MultipathTunnel, owner: Client, server: Server, *, certified: bool) -> dict[str, Any]:
    """Return the server's instance. What the paths are and how they share the traffic, the client tells it."""
    return instances.server_end(tunnel.tun_name, tunnel, owner, server, running=_running(tunnel), certified=certified)


def _running(tunnel: MultipathTunnel) -> dict[str, Any]:
    return {"telemetry_interval": tunnel.telemetry_interval, "log_level": tunnel.log_level}


def _path(path: Path, tunnel: MultipathTunnel, server: Server) -> dict[str, Any]:
    rates = {"rate": path.rates.up, "rate_down": path.rates.down}
    return {
        "name": path.name,
        "bind_ip": f"if:{path.wan}",
        "remote_addr": str(server.public_address),
        "remote_port": tunnel.port,
        "priority": path.priority,
        "weight": path.weight,
        **({"connections": path.connections} if path.connections > 1 else {}),
        **({"ping_interval": path.ping_interval} if path.ping_interval is not None else {}),
        **{key: rate for key, rate in rates.items() if rate is not None},
    }


def _dataplane(tunnel: MultipathTunnel) -> dict[str, Any]:
    """Return the classes; each prefers the paths that are not metered, unless the operator says what it prefers."""
    unmetered = [path.name for path in tunnel.paths if not path.metered]
    found = tunnel.dataplane
    if found is None:
        if len(unmetered) in {0, len(tunnel.paths)}:
            return {}
        return {"dataplane": {"default_class": _ONLY, "classes": {_ONLY: {"preferred_paths": unmetered}}}}
    if len(unmetered) == len(tunnel.paths):
        unmetered = []
    said = {
        "default_class": found.default,
        "classes": {item.name: _class(item, unmetered) for item in found.classes},
        **({"classifiers": [_classifier(item) for item in found.classifiers]} if found.classifiers else {}),
    }
    return {"dataplane": said}


def _class(item: DataplaneClass, unmetered: list[str]) -> dict[str, Any]:
    said = {
        "scheduler_policy": item.policy,
        "preferred_paths": list(item.preferred) or [name for name in unmetered if name not in item.excluded] or None,
        "excluded_paths": list(item.excluded) or None,
        "duplicate": item.duplicate,
        "duplicate_copies": item.copies,
        "spray": item.spray,
    }
    return {key: value for key, value in said.items() if value is not None}


def _classifier(item: Classifier) -> dict[str, Any]:
    match = item.match
    said = {
        "protocols": [_protocol(number) for number in match.protocols],
        "src": instances.texts(match.src),
        "dst": instances.texts(match.dst),
        "sports": matches.port_names(match.sports),
        "dports": matches.port_names(match.dports),
        "dscp": list(match.dscp),
    }
    return {
        **({"name": item.name} if item.name else {}),
        "class": item.target,
        **{dataplane.HEADERS[field]: value for field, value in said.items() if value},
    }


def _protocol(number: int) -> str | int:
    """Return the name of a protocol if the daemon knows it, else its number."""
    name = matches.protocol_name(number)
    return name if name in dataplane.PROTOCOLS else number
