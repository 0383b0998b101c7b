# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of older instance files: which load with a warning, and which ask for something this release does not do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mpquic.config.errors import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATAGRAMS = "packets travel in QUIC datagrams only"

#: Accepted and ignored: what to use instead. Values are never shown, one of them is a secret.
IGNORED = {
    "control_api_auth_token": "not used: the control socket checks who connects; remove the key",
    "control_api_listen": "not used: control is a Unix socket, see mpquic status",
    "detect_starlink": "not used: every WAN is handled alike",
    "metrics_listen": "not used: counters come from mpquic status --json",
    "transport_mode": "not used: packets always travel in QUIC datagrams",
}
#: What means nothing without multipath_enabled.
_OF_MULTIPATH = ("dataplane", "dataplane_config_file", "multipath_paths", "multipath_policy")
_IGNORED_PREFIXES = re.compile(r"(starlink|stripe)_[a-z0-9_]+")


def take(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Split off the keys this module knows: (the rest, warnings, errors), lines without the file's name."""
    rest = dict(raw)
    errors = list(_refusals(rest))
    warnings: list[str] = []
    for key in list(rest):
        if key == "tls_insecure_skip_verify":
            del rest[key]
        elif key in _OF_MULTIPATH and raw.get("multipath_enabled", False) is False:
            del rest[key]
            warnings.append(f"{key}: not used: multipath_enabled is false")
        elif key in IGNORED:
            del rest[key]
            warnings.append(f"{key}: {IGNORED[key]}")
        elif _IGNORED_PREFIXES.fullmatch(key):
            del rest[key]
            warnings.append(f"{key}: not used: there is no striping beside QUIC")
    return rest, warnings, errors


def _refusals(raw: dict[str, Any]) -> Iterator[str]:
    if "transport_mode" in raw and raw["transport_mode"] != "datagram":
        yield f"transport_mode: found {quoted(raw['transport_mode'])}, expected datagram: {_DATAGRAMS}"
    if "tls_insecure_skip_verify" in raw and raw["tls_insecure_skip_verify"] is not False:
        yield (
            f"tls_insecure_skip_verify: found {quoted(raw['tls_insecure_skip_verify'])}, expected false: "
            "there is no insecure mode, use tls_server_pin or tls_ca_file"
        )
