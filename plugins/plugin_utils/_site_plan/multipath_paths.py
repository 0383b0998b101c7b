# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads the paths of a multipath tunnel, and compares them with each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import keys, values
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Rates, Wan
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.multipath_model import Path

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.multipath_model import MultipathTunnel
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

KEYS = ("wan", "name", "priority", "weight", "connections", "metered", "ping_interval", *keys.RATES)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PRIORITIES = range(65536)
_WEIGHTS = range(1, 1001)
_CONNECTIONS = range(1, 9)
# Seconds. Routers with NAT forget a flow after 30 without a packet.
_PING_INTERVALS = range(1, 21)
# A path's number is one byte on the wire, and each of its connections has one.
_MOST = 255


def read(value: object, where: str, wans: Mapping[str, Wan], problems: Problems) -> tuple[Path | None, ...]:
    """Read the paths of a tunnel; None in the place of those that are wrong."""
    expected = "a list of at least one path such as [{wan: enp7s3}, {wan: enp7s4}]"
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        problems.unexpected(f"{where}: paths", value, expected)
        return ()
    return tuple(_path(entry, where, f"paths[{index}]", wans, problems) for index, entry in enumerate(value))


def names(value: object) -> tuple[str, ...] | None:
    """Return the names that paths will have, right or wrong, each once; None when nobody can say them."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    found = [entry.get("name", entry.get("wan")) if isinstance(entry, Mapping) else None for entry in value]
    return tuple(dict.fromkeys(map(str, found))) if all(isinstance(name, str) for name in found) else None


def _path(entry: object, tunnel: str, place: str, wans: Mapping[str, Wan], problems: Problems) -> Path | None:
    where = f"{tunnel}: {place}"
    if not isinstance(entry, Mapping):
        problems.unexpected(where, entry, "a mapping such as {wan: enp7s3, priority: 10}")
        return None
    errors_before = len(problems.errors)
    keys.refuse_unknown(entry, where, KEYS, problems)
    fields: dict[str, Any] = {"wan": None, "priority": 0, "weight": 1, "connections": 1, "ping_interval": None}
    if "wan" in entry:
        fields["wan"] = values.interface(entry["wan"], f"{where}: wan", problems)
    else:
        problems.missing(f"{where}: wan", "the interface it leaves by")
    integers = {
        "priority": _PRIORITIES,
        "weight": _WEIGHTS,
        "connections": _CONNECTIONS,
        "ping_interval": _PING_INTERVALS,
    }
    fields |= keys.given(entry, where, values.integer, integers, problems)
    fields["name"] = fields["wan"]
    if "name" in entry:
        fields["name"] = _name(entry["name"], f"{where}: name", problems)
    metered = None
    if "metered" in entry:
        metered = values.boolean(entry["metered"], f"{where}: metered", problems)
    own = keys.rates(entry, where, Rates(), problems)
    of_wan = wans.get(str(fields["wan"]), Wan())
    if len(problems.errors) != errors_before:
        return None
    rates = Rates(up=own.up or of_wan.rates.up, down=own.down or of_wan.rates.down)
    if metered is None:
        metered = of_wan.meter is not None and of_wan.meter.metered
    return Path(where=where, place=place, rates=rates, own_rates=own, metered=metered, **fields)


def _name(value: object, where: str, problems: Problems) -> str | None:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return str(value)
    problems.unexpected(where, value, "1 to 64 letters, digits, . _ -")
    return None


def compare(tunnel: MultipathTunnel, problems: Problems) -> None:
    """Check that paths have names of their own, and mention what gives less than it seems to."""
    by_name: dict[str, Path] = {}
    by_wan: dict[str, Path] = {}
    for path in tunnel.paths:
        other = by_name.setdefault(path.name, path)
        if other is not path:
            problems.clash(f"{path.where}: name", path.name, f"already used by {other.place}")
        other = by_wan.setdefault(path.wan, path)
        if other is not path:
            problems.warn(f"{path.where}: wan", f"{path.wan} is also that of {other.place}: they fail together")
    if len(tunnel.paths) == 1:
        only = tunnel.paths[0].wan
        problems.warn(f"{tunnel.where}: paths", f"{only} is the only one, nothing can take over when it fails")
    connections = sum(path.connections for path in tunnel.paths)
    if connections > _MOST:
        problems.errors.append(
            f"{tunnel.where}: paths: found {connections} connections in all, expected at most {_MOST}"
        )
