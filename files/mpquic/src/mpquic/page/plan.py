# SPDX-License-Identifier: GPL-3.0-or-later
"""What no daemon says, from files of the host: the LAN behind each tunnel, and which tunnels are classes of a WAN."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from mpquic import config
from mpquic.config import document
from mpquic.host.errors import HostError
from mpquic.host.explain import plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Lan(NamedTuple):
    """Prefixes, and the interface that they are behind, "" where it is not known."""

    prefixes: tuple[str, ...]
    interface: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """LANs and the link that a class belongs to, by the ids of instances."""

    lans: dict[str, Lan] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)


def read(instances: Path, classes: Path) -> Plan:
    """Read the files; what is missing or wrong there is left out, `mpquic doctor` says more of it.

    Of an instance file only what is needed is looked at: the keys that it names are not this program's business.
    """
    lans = {path.stem: lan for path in sorted(instances.glob("*.yaml")) if (lan := _lan(path)) is not None}
    try:
        found = plan.load(classes)
    except (HostError, OSError):
        return Plan(lans)
    behind = {str(prefix): name for link in found.links for name, prefixes in link.lans for prefix in prefixes}
    for name, lan in lans.items():
        if not lan.interface:
            lans[name] = Lan(lan.prefixes, next((behind[one] for one in lan.prefixes if one in behind), ""))
    return Plan(lans, {one.name: link.name for link in found.links for one in link.classes})


def _lan(path: Path) -> Lan | None:
    try:
        found = document.mapping(document.read(path), path).get("lan_routing")
    except (config.ConfigError, OSError):
        return None
    if not isinstance(found, dict):
        return None
    interface = found.get("interface")
    return Lan(tuple(_texts(found.get("cidrs"))), interface if isinstance(interface, str) else "")


def _texts(found: Any) -> Iterator[str]:
    if isinstance(found, list):
        yield from (item for item in found if isinstance(item, str))
