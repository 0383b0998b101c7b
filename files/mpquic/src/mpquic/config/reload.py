# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running instance can take over from a changed file, and what it must be started anew for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.config.model import InstanceConfig

#: Keys whose value, and the content of the files they name, may change without the loss of a session.
RELOADABLE = frozenset(
    {
        "legacy_peers",
        "log_level",
        "multi_conn_enabled",
        "peers",
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
    return [key for key in type(old).model_fields if key not in RELOADABLE and getattr(old, key) != getattr(new, key)]
