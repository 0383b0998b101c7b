# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Multipath tunnels: one tunnel over several WANs, and how it shares its traffic among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import LanTunnel

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import Match
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Rates


@dataclass(frozen=True)
class Path:
    """One WAN of a multipath tunnel. ``where`` is how messages call it, ``place`` the same within its tunnel.

    ``own_rates``: what the entry itself says of rates; the rest of ``rates`` is that of the WAN. ``metered``: it is for
    when no other one works. ``ping_interval`` is seconds, None for the daemon's.
    """

    where: str
    place: str
    name: str
    wan: str
    priority: int
    weight: int
    connections: int
    rates: Rates
    own_rates: Rates
    metered: bool
    ping_interval: int | None


@dataclass(frozen=True)
class DataplaneClass:
    """How the packets of one class are shared among the paths; what is None or empty has the daemon's default."""

    where: str
    name: str
    policy: str | None
    preferred: tuple[str, ...]
    excluded: tuple[str, ...]
    duplicate: bool | None
    copies: int | None
    spray: bool | None


@dataclass(frozen=True)
class Classifier:
    """Packets that belong to a class: those that fit every key of the match."""

    where: str
    name: str | None
    target: str
    match: Match


@dataclass(frozen=True)
class Dataplane:
    """The classes of a multipath tunnel and, in the order in which they are tried, the classifiers."""

    default: str | None
    classes: tuple[DataplaneClass, ...]
    classifiers: tuple[Classifier, ...]


@dataclass(frozen=True)
class MultipathTunnel(LanTunnel):
    """One entry of ``mpquic_multipath_tunnels``. ``tun_name`` is the name of its instances as well."""

    rule_priority: int
    policy: str
    paths: tuple[Path, ...]
    dataplane: Dataplane | None
    telemetry_interval: int | None

    @property
    def wans(self) -> tuple[str, ...]:
        """The interfaces that it leaves by, each once."""
        return tuple(dict.fromkeys(path.wan for path in self.paths))
