# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Class links: one WAN with a tunnel for each class of traffic, all into one port and one TUN of the VPS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import numbering
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Budget, Client, Rates
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.ranges import Ranges

# The outer DSCP of a class that passes on what each packet has inside.
COPY = "copy"


@dataclass(frozen=True)
class Lan:
    """A LAN whose traffic is classified: the interface and the prefixes behind it.

    ``key`` is how messages call it in its link; ``own``: the link says the prefixes, not a tunnel with this LAN.
    """

    key: str
    interface: str
    cidrs: tuple[IPNetwork, ...]
    own: bool


@dataclass(frozen=True)
class Match:
    """Packets of a class: those that fit every key. An empty key is fitted by all packets.

    ``where`` is how messages call it, ``place`` the same within its link.
    """

    where: str
    place: str
    lans: tuple[str, ...] = ()
    protocols: tuple[int, ...] = ()
    src: tuple[IPNetwork, ...] = ()
    dst: tuple[IPNetwork, ...] = ()
    sports: Ranges = ()
    dports: Ranges = ()
    dscp: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrafficClass:
    """One tunnel of a link. ``number`` is what its address and its other numbers follow, ``place`` its one in messages.

    ``tun_name`` is the name of its instance as well.
    """

    where: str
    place: str
    name: str
    tun_name: str
    number: int
    default: bool
    matches: tuple[Match, ...]
    priority: int
    share: int
    outer_dscp: int | str
    nat: bool
    table: int
    rule_priority: int


@dataclass(frozen=True)
class ClassLink:
    """One entry of ``mpquic_class_tunnels``. ``first`` is the index of the /30 that its class 0 has in ``network``."""

    where: str
    id: int
    wan: str
    lans: tuple[Lan, ...]
    port: int
    server_tun: str
    network: IPNetwork
    network6: IPNetwork | None
    first: int
    tun_mtu: int
    log_level: str
    rates: Rates
    budget: Budget
    classes: tuple[TrafficClass, ...]

    @property
    def default(self) -> TrafficClass:
        """The class of what no match takes."""
        return next(item for item in self.classes if item.default)

    @property
    def shaped(self) -> bool:
        """Whether its WAN has a rate, in one direction at least."""
        return bool(self.rates.up or self.rates.down)

    @cached_property
    def lan_cidrs(self) -> tuple[IPNetwork, ...]:
        """All prefixes of its LANs."""
        return tuple(sorted({network for lan in self.lans for network in lan.cidrs}))

    @property
    def routed(self) -> bool:
        """Whether the VPS routes the LAN prefixes, because a class keeps the addresses of the LAN."""
        return not all(item.nat for item in self.classes)

    @property
    def last_index(self) -> int:
        """The index of the last /30 that one of its classes has."""
        return self.first + max(item.number for item in self.classes)

    def mark(self, item: TrafficClass) -> int:
        """Return the mark of the packets of a class."""
        return numbering.class_mark(self.id, item.number)

    def index(self, item: TrafficClass) -> int:
        """Return the index of the /30 whose first host is a class."""
        return self.first + item.number

    def address(self, item: TrafficClass) -> str:
        """Return the address of a class's TUN: the first host of its /30."""
        return str(IPAddress(self.network.first + 4 * self.index(item) + 1, version=4))

    def address6(self, item: TrafficClass) -> str | None:
        """Return the IPv6 address of a class's TUN, if the link has some."""
        if self.network6 is None:
            return None
        return str(IPAddress(self.network6.first + 4 * self.index(item) + 1, version=6))

    @property
    def server_address(self) -> str:
        """The VPS's address: the last host of the network."""
        return str(IPAddress(self.network.last - 1, version=4))

    @property
    def server_address6(self) -> str | None:
        """The VPS's IPv6 address, which no class has: theirs are 1 more than a multiple of 4."""
        return None if self.network6 is None else str(IPAddress(self.network6.first + 0xFFFF, version=6))


def by_port(clients: Iterable[Client]) -> dict[int, list[tuple[Client, ClassLink]]]:
    """Return the class links of the clients of one VPS by their port: links of several clients may share one."""
    found: dict[int, list[tuple[Client, ClassLink]]] = {}
    for client in clients:
        for link in client.links:
            found.setdefault(link.port, []).append((client, link))
    return found
