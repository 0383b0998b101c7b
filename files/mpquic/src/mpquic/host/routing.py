# SPDX-License-Identifier: GPL-3.0-or-later
"""What LAN-to-tunnel routing should be, and what is wrong with the one found. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mpquic.host.state import ANYWHERE, LOOKUP, MAIN_TABLE, HostState, Route, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from ipaddress import IPv4Network

    from mpquic.host.instances import Instance

TUNNEL_METRIC = 10
STANDING_METRIC = 4278198272
"""Worse than any metric an operator uses: what the kernel itself gives IPv6 unreachable routes."""

_Object = TypeVar("_Object", Rule, Route)
_CATCHING_ACTIONS = {"blackhole", "unreachable", "prohibit"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be; `code` is for programs, `message` for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rules and routes of one instance."""

    rules: tuple[Rule, ...]
    standing: tuple[Route, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Owned:
    """Found rules and routes of ours, told apart by the instance they belong to."""

    rules: tuple[Rule, ...]
    routes: tuple[Route, ...]


def wanted(instance: Instance) -> Wanted:
    """Return what one instance needs."""
    lan = instance.lan
    if lan is None:
        return Wanted((), (), ())
    if not instance.client:
        routes = tuple(Route(MAIN_TABLE, prefix, device=instance.tun) for prefix in lan.cidrs)
        return Wanted((), tuple(_standing(MAIN_TABLE, prefix) for prefix in lan.cidrs), routes)
    assert lan.table is not None
    assert lan.priority is not None
    rules = tuple(Rule(lan.priority, lan.table, prefix, lan.interface) for prefix in lan.cidrs)
    default = Route(lan.table, ANYWHERE, device=instance.tun, metric=TUNNEL_METRIC)
    return Wanted(rules, (_standing(lan.table, ANYWHERE),), (default,))


def _standing(table: int, destination: IPv4Network) -> Route:
    return Route(table, destination, kind="unreachable", metric=STANDING_METRIC)


def owned(instance: Instance | None, known: Sequence[Instance], state: HostState) -> Owned:
    """Return the found objects of ours that belong to one instance, or with None to no known instance."""
    name = instance.id if instance else None
    return Owned(
        rules=tuple(rule for rule in state.rules if rule.ours and _owner_of_rule(rule, known) == name),
        routes=tuple(route for route in state.routes if route.ours and _owner_of_route(route, known) == name),
    )


def _owner_of_rule(rule: Rule, known: Sequence[Instance]) -> str | None:
    """Give every rule one owner: by priority, which drift leaves alone more often than the table."""
    lans = [(instance.id, instance.lan) for instance in known if instance.client and instance.lan]
    by_priority = (name for name, lan in lans if lan.priority == rule.priority)
    by_table = (name for name, lan in lans if lan.table == rule.table)
    return next(by_priority, None) or next(by_table, None)


def _owner_of_route(route: Route, known: Sequence[Instance]) -> str | None:
    by_table = (i.id for i in known if i.client and i.lan and i.lan.table == route.table)
    by_device = (i.id for i in known if i.tun == route.device)
    by_prefix = (
        i.id for i in known if not i.client and i.lan and route.table == MAIN_TABLE and route.destination in i.lan.cidrs
    )
    return next(by_table, None) or next(by_device, None) or next(by_prefix, None)


def stale(need: Wanted, mine: Owned) -> Owned:
    """Return what belongs to an instance that does not need it."""
    routes = {*need.standing, *need.routes}
    return Owned(
        rules=tuple(rule for rule in mine.rules if rule not in need.rules),
        routes=tuple(route for route in mine.routes if route not in routes),
    )


def problems(instance: Instance, need: Wanted, mine: Owned, state: HostState) -> Iterator[Problem]:
    """Yield everything wrong with the rules and routes of one instance."""
    lan = instance.lan
    if lan is not None and lan.interface is not None and instance.client and lan.interface not in state.links:
        yield Problem("lan_interface_missing", f"LAN interface {lan.interface} does not exist")
    leftover = stale(need, mine)
    rules = [rule for rule in need.rules if rule not in mine.rules]
    routes = [route for route in need.routes if route not in mine.routes]
    yield from _differences("rule", rules, leftover.rules, _same_rule_place)
    yield from _differences("route", routes, leftover.routes, _same_place)
    for route in need.standing:
        if route not in mine.routes:
            yield Problem("standing_route_missing", f"no '{route}', so LAN traffic would leak when the tunnel goes")
    yield from _conflicts(need, state)


def _differences(
    what: str, lacking: Sequence[_Object], leftover: Sequence[_Object], same_place: Callable[[_Object, _Object], bool]
) -> Iterator[Problem]:
    """Tell a wrong object (one problem) from a missing one and from one that is only left over."""
    explained = []
    for need in lacking:
        wrong = next((found for found in leftover if found not in explained and same_place(found, need)), None)
        if wrong is None:
            yield Problem(f"{what}_missing", f"no '{need}'")
        else:
            explained.append(wrong)
            yield Problem(f"{what}_wrong", f"found '{wrong}', expected '{need}'")
    for found in leftover:
        if found not in explained:
            yield Problem(f"stale_{what}", f"'{found}' is not needed any more")


def _same_rule_place(found: Rule, need: Rule) -> bool:
    return found.priority == need.priority


def _same_place(found: Route, need: Route) -> bool:
    return found.table == need.table and found.destination == need.destination and found.kind == "unicast"


def _conflicts(need: Wanted, state: HostState) -> Iterator[Problem]:
    """Yield foreign rules and routes that take the traffic before ours do."""
    foreign = [rule for rule in state.rules if not rule.ours]
    for rule in need.rules:
        for other in foreign:
            if _catches(other, rule, state):
                yield Problem(
                    "foreign_conflict", f"foreign rule '{other}' takes traffic from {rule.source} before ours"
                )
    for route in need.routes:
        for rival in state.routes:
            if not rival.ours and _beats(rival, route):
                yield Problem("foreign_conflict", f"foreign route '{rival}' takes traffic before '{route}'")


def _catches(other: Rule, rule: Rule, state: HostState) -> bool:
    """Tell whether a foreign rule takes all traffic to the internet that should match `rule`.

    Rules with further selectors (a mark, a port, a destination) are an operator's exceptions, not accidents. Of two
    rules of one priority the older wins; which that is cannot be read.
    """
    if other.priority == 0 or other.priority > rule.priority:
        return False
    if other.extra or other.suppress is not None or other.oif or other.destination != ANYWHERE:
        return False
    if other.iif not in {None, rule.iif} or not other.source.overlaps(rule.source):
        return False
    if other.action == LOOKUP:
        if other.table == rule.table:
            return False
        return any(r.table == other.table and r.destination == ANYWHERE and r.kind != "throw" for r in state.routes)
    return other.action in _CATCHING_ACTIONS


def _beats(rival: Route, route: Route) -> bool:
    """Tell whether a foreign route wins over ours: a longer prefix, or the same and a better metric, by another way."""
    if rival.table != route.table or rival.kind == "throw":
        return False
    if rival.device == route.device and rival.gateway is None and rival.kind == "unicast":
        return False
    if not rival.destination.subnet_of(route.destination):
        return False
    if rival.destination != route.destination:
        return True
    return rival.metric < route.metric
