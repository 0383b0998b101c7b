# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running instance can take over from a changed file, and what it must be started anew for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.config.model import InstanceConfig
    from mpquic.config.prefixes import Network

#: Keys whose value, and the content of the files they name, may change without the loss of a session.
RELOADABLE = frozenset(
    {
        "dataplane",
        "dataplane_config_file",
        "legacy_peers",
        "log_level",
        "multi_conn_enabled",
        "multipath_paths",
        "multipath_policy",
        "peers",
        "telemetry_interval",
        "tls_ca_file",
        "tls_cert_file",
        "tls_key_file",
        "tls_server_name",
        "tls_server_pin",
        "tun_peer",
    }
)

#: What a server can take over beside: its sockets are its own, and the addresses of its TUN are the host's.
OF_SERVERS = frozenset({"also", "lan_routing", "remote_port", "tun_cidr", "tun_cidr6"})


def needs_restart(old: InstanceConfig, new: InstanceConfig) -> list[str]:
    """Return the keys that differ and that a running instance cannot take over, in the order of the model."""
    takes = RELOADABLE
    if old.role == new.role == "server":
        takes |= OF_SERVERS
    elif _registered(old) == _registered(new):
        # The rest of it is the host's routing.
        takes |= {"lan_routing"}
    if old.multipath_enabled and new.multipath_enabled:
        # They are those of a path.
        takes |= {"bind_ip", "remote_addr", "remote_port"}
    return [key for key in type(old).model_fields if key not in takes and getattr(old, key) != getattr(new, key)]


def _registered(config: InstanceConfig) -> frozenset[Network] | None:
    """Return what a client registers of its LAN."""
    return frozenset(config.lan_routing.cidrs) if config.lan_routing is not None else None
