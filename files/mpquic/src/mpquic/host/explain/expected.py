# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tunnel of this host the plan gives to a packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpquic.host import routing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mpquic.host.explain.packet import Packet
    from mpquic.host.explain.plan import Chosen, Classes
    from mpquic.host.instances import Instance
    from mpquic.host.state import IPNetwork, Rule


@dataclass(frozen=True, slots=True)
class Expected:
    """What the plan has for a packet: a class, or a LAN, or an address that lies behind a tunnel (`why`).

    `instance` is None for a class that has no instance file. `rules` are those that may take it there, none when it is
    the main table that does.
    """

    tun: str
    instance: Instance | None
    rules: tuple[Rule, ...]
    why: str
    chosen: Chosen | None = None

    def result(self) -> dict[str, Any]:
        """Return it for programs."""
        rule = self.rules[0] if self.rules else None
        chosen = self.chosen
        return {
            "why": self.why,
            "tun": self.tun,
            "instance": self.instance.id if self.instance else None,
            "link": chosen.link.name if chosen else None,
            "lan": {"interface": chosen.lan[0], "prefix": str(chosen.lan[1])} if chosen else None,
            "class": chosen.chosen.name if chosen else None,
            "match": chosen.match if chosen else None,
            "mark": chosen.chosen.mark if chosen else 0,
            "priority": rule.priority if rule else None,
            "table": rule.table if rule else None,
        }


def expected(packet: Packet, classes: Classes, known: Sequence[Instance]) -> Expected | None:
    """Return what the plan has for a packet, None when no tunnel is to take it."""
    chosen = classes.choose(packet) if packet.iif is not None else None
    if chosen is not None:
        instance = next((i for i in known if i.id == chosen.chosen.name or i.tun == chosen.chosen.tun), None)
        rules = tuple(rule for rule in _rules(instance, packet) if rule.mask)
        return Expected(chosen.chosen.tun, instance, rules, f"class {chosen.chosen.name} by {chosen.match}", chosen)
    for instance in known:
        for rule in _rules(instance, packet):
            if not rule.mask and packet.source in rule.source and rule.iif == packet.iif:
                return Expected(instance.tun, instance, (rule,), f"tunnel {instance.id} from {rule.source}")
    behind = [(prefix, i) for i in known for prefix in _behind(i) if packet.destination in prefix]
    if not behind:
        return None
    prefix, instance = max(behind, key=lambda found: found[0].prefixlen)
    return Expected(instance.tun, instance, (), f"tunnel {instance.id} to {prefix}")


def _rules(instance: Instance | None, packet: Packet) -> Iterator[Rule]:
    if instance is not None:
        yield from (rule for rule in routing.wanted(instance).rules if rule.version == packet.version)


def _behind(instance: Instance) -> Iterator[IPNetwork]:
    """Yield what the main table has of a tunnel: the networks of its TUN, on a server what lies behind it, too."""
    if not instance.client and instance.lan is not None:
        yield from instance.lan.cidrs
    for address in instance.addresses:
        if address.network.prefixlen < address.max_prefixlen:
            yield address.network
