# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rule and which route decide, from the rules and routes as they were read. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.host.state import LOOKUP

if TYPE_CHECKING:
    from mpquic.host.explain.packet import Packet
    from mpquic.host.state import HostState, Route, Rule

LOCAL_KINDS = {"local", "broadcast", "anycast", "multicast"}
_REFUSING = {"blackhole", "unreachable", "prohibit"}


@dataclass(frozen=True, slots=True)
class Decision:
    """What was found: `rule` decides, by `route` unless it refuses by itself; without a rule nothing matched.

    `unsure` are rules before it with a selector whose value is not known here.
    """

    rule: Rule | None
    route: Route | None
    unsure: tuple[Rule, ...]

    @property
    def kind(self) -> str:
        """What happens: ``unicast``, ``local`` and the like, or ``unreachable``, ``blackhole``, ``prohibit``."""
        if self.route is not None:
            return self.route.kind
        return self.rule.action if self.rule is not None else "unreachable"


def decide(state: HostState, packet: Packet, mark: int) -> Decision:
    """Return what the rules and routes say of a packet that carries a mark (ip-rule(8), fib_rules_lookup)."""
    unsure: list[Rule] = []
    # Of two rules of one priority the first one read comes first in the kernel, too.
    for rule in sorted((r for r in state.rules if r.version == packet.version), key=lambda rule: rule.priority):
        if not _matches(rule, packet, mark):
            continue
        if rule.extra or rule.action not in {LOOKUP, "nop", *_REFUSING}:
            unsure.append(rule)
            continue
        if rule.action in _REFUSING:
            return Decision(rule, None, tuple(unsure))
        route = best(state, rule, packet) if rule.action == LOOKUP else None
        if route is not None:
            return Decision(rule, route, tuple(unsure))
    return Decision(None, None, tuple(unsure))


def _matches(rule: Rule, packet: Packet, mark: int) -> bool:
    """Tell whether the selectors whose values are known match.

    What this host sends itself comes from ``lo``; ``oif`` is of a socket bound to a device, which no packet here has.
    """
    return (
        packet.source in rule.source
        and (rule.destination is None or packet.destination in rule.destination)
        and rule.iif in {None, packet.iif or "lo"}
        and rule.oif is None
        and (mark ^ rule.mark) & rule.mask == 0
    )


def best(state: HostState, rule: Rule, packet: Packet) -> Route | None:
    """Return the route that a rule's table has for a packet, None to go on with the next rule."""
    fitting = [
        route
        for route in state.routes
        if route.table == rule.table and packet.destination in route.destination and _alive(state, route)
    ]
    found = min(fitting, key=lambda route: (-route.destination.prefixlen, route.metric), default=None)
    if found is None or found.kind == "throw":
        return None
    if rule.suppress is not None and found.destination.prefixlen <= rule.suppress:
        return None
    return found


def _alive(state: HostState, route: Route) -> bool:
    link = state.links.get(route.device or "")
    return link is None or link.up
