# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running instance can take over from a changed file, and what it must be started anew for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.config.model import InstanceConfig

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


def needs_restart(old: InstanceConfig, new: InstanceConfig) -> list[str]:
    """Return the keys that differ and that a running instance cannot take over, in the order of the model."""
    takes = RELOADABLE
    if old.multipath_enabled and new.multipath_enabled:
        # They are those of a path.
        takes |= {"bind_ip", "remote_addr", "remote_port"}
    return [key for key in type(old).model_fields if key not in takes and getattr(old, key) != getattr(new, key)]
