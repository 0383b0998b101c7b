# SPDX-License-Identifier: GPL-3.0-or-later
"""What stays as it is when an instance is handed over: what its unit made before it started, and its sockets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mpquic.config import InstanceConfig

#: Made by the unit: the TUN device, and the rules and routes into it.
_ALWAYS = ("instance_id", "role", "tun_name", "tun_mtu", "lan_routing", "multipath_enabled")
#: Where a server's socket is bound, and the addresses that its clients know. A LAN's packets pass whatever those of the
#: client's TUN are, and `mpquic routing fix` sets them.
_SERVER = ("tun_cidr", "tun_cidr6", "bind_ip", "remote_port")
#: Begins what of a unit's environment does not follow from the configuration, of which `fixed` tells.
_UNIT = "MPQUIC_"
#: Of a unit's environment, what is another one with each release.
RELEASE = "MPQUIC_RELEASE"


def fixed(config: InstanceConfig) -> dict[str, str]:
    """Return what a process of any release must agree upon to take over an instance, as text."""
    keys = _ALWAYS + (_SERVER if config.role == "server" else ())
    return {key: str(getattr(config, key)) for key in keys}


def differing(theirs: Mapping[str, str], config: InstanceConfig) -> list[str]:
    """Return the keys in which an instance differs from its file, of those known to both releases."""
    ours = fixed(config)
    return [key for key, value in ours.items() if theirs.get(key, value) != value]


def environment(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return an heir's environment, and the names in which the unit's differs from that of this process.

    ``path`` is the file of the instance; the unit reads the one beside it that ends in ``.env``. Names that follow from
    the configuration do not count: it may have been taken over by a reload since. Raises OSError.
    """
    found: dict[str, str] = {}
    beside = path.with_suffix(".env")
    if beside.exists():
        lines = [line.strip() for line in beside.read_text(encoding="utf-8").splitlines()]
        found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        found = {name: value.strip("\"'") for name, value in found.items()}
    ours = (name for name in found if name.startswith(_UNIT) and name != RELEASE)
    other = [name for name in ours if os.environ.get(name, "") != found[name]]
    # The watchdog is the main process's, whatever its number.
    inherited = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
    return {**inherited, **found}, other
