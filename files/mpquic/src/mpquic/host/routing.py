# SPDX-License-Identifier: GPL-3.0-or-later
"""What LAN-to-tunnel routing should be, and what is wrong with the one found. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from mpquic.config import MARK_MASK
from mpquic.host.state import ANYWHERE_6, DEFAULT_METRIC_6, LOOKUP, MAIN_TABLE, HostState, Route, Rule, anywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.host.instances import Instance, Lan
    from mpquic.host.state import IPNetwork

TUNNEL_METRIC = 10
STANDING_METRIC = 4278198272
"""Worse than any metric an operator uses: what the kernel itself gives IPv6 unreachable routes."""

LIFELINES = (Rule(32765, MAIN_TABLE), Rule(32765, MAIN_TABLE, ANYWHERE_6))
"""Rules of ours that belong to no instance (`mpquic.host.lifeline`)."""

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
        if lan.standby:
            return Wanted((), (), ())
        routes = tuple(_behind(prefix, instance.tun) for prefix in lan.cidrs)
        return Wanted((), tuple(_standing(MAIN_TABLE, prefix) for prefix in lan.cidrs), routes)
    assert lan.table is not None
    table = lan.table
    rules = tuple(_rules(instance, lan))
    versions = sorted({rule.version for rule in rules})
    return Wanted(
        () if lan.standby else rules,
        tuple(_standing(table, anywhere(version)) for version in versions),
        tuple(Route(table, anywhere(version), device=instance.tun, metric=TUNNEL_METRIC) for version in versions),
    )


def _rules(instance: Instance, lan: Lan) -> Iterator[Rule]:
    """Yield what leads into a client's table: its LAN's prefixes, or its class's mark and the own address of its TUN.

    Without the latter, what the host answers from that address would leave by the first TUN of the same network.
    """
    assert lan.table is not None
    assert lan.priority is not None
    if lan.mark is None:
        for prefix in lan.cidrs:
            yield Rule(lan.priority, lan.table, prefix, lan.interface)
        return
    for address in instance.addresses:
        yield Rule(lan.priority, lan.table, anywhere(address.version), mark=lan.mark, mask=MARK_MASK)
        # What this host sends, and nobody else in its name: an IPv6 source of its own is no martian to the kernel.
        yield Rule(lan.priority, lan.table, _alone(address), iif="lo")


def _alone(address: IPv4Interface | IPv6Interface) -> IPNetwork:
    return type(address.network)(address.ip)


def _behind(prefix: IPNetwork, tun: str) -> Route:
    return Route(MAIN_TABLE, prefix, device=tun, metric=DEFAULT_METRIC_6 if prefix.version == 6 else 0)


def without_ipv6(need: Wanted, *, guard: bool) -> Wanted:
    """Return what is needed without IPv6; a `guard` leaves what keeps it from leaking."""

    def kept(item: Rule | Route) -> bool:
        return item.version == 4

    return Wanted(
        need.rules if guard else tuple(filter(kept, need.rules)),
        need.standing if guard else tuple(filter(kept, need.standing)),
        tuple(filter(kept, need.routes)),
    )


def _standing(table: int, destination: IPNetwork) -> Route:
    return Route(table, destination, kind="unreachable", metric=STANDING_METRIC)


def owned(instance: Instance | None, known: Sequence[Instance], state: HostState) -> Owned:
    """Return the found objects of ours that belong to one instance, or with None to no known instance."""
    name = instance.id if instance else None
    rules = (rule for rule in state.rules if rule.ours and rule not in LIFELINES)
    return Owned(
        rules=tuple(rule for rule in rules if _owner_of_rule(rule, known) == name),
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
    # Where one instance takes a LAN over from another, both have its prefix, and one of them stands by.
    lans = ((i.lan.standby, i) for i in known if i.lan and not i.client and route.destination in i.lan.cidrs)
    by_prefix = (i.id for _standby, i in sorted(lans, key=itemgetter(0)) if route.table == MAIN_TABLE)
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
    return (found.priority, found.version, bool(found.mask)) == (need.priority, need.version, bool(need.mask))


def _same_place(found: Route, need: Route) -> bool:
    return found.table == need.table and found.destination == need.destination and found.kind == "unicast"


def room_for(route: Route, state: HostState) -> bool:
    """Tell whether the kernel takes a route: in IPv6 not beside the same one of somebody else."""
    return route.version == 4 or not any(_twins(rival, route) for rival in state.routes)


def _twins(rival: Route, route: Route) -> bool:
    """Tell whether a foreign route differs from ours by nothing that the kernel compares in IPv6."""
    places = [(r.table, r.destination, r.kind, r.device, r.gateway, r.metric) for r in (rival, route)]
    return not rival.ours and places[0] == places[1]


def _conflicts(need: Wanted, state: HostState) -> Iterator[Problem]:
    """Yield foreign rules and routes that take the traffic before ours do."""
    foreign = [rule for rule in state.rules if not rule.ours]
    for rule in need.rules:
        traffic = f"with mark {rule.mark:#010x}" if rule.mask else f"from {rule.source}"
        for other in foreign:
            if other.version != rule.version:
                continue
            if _catches(other, rule, state):
                yield Problem("foreign_conflict", f"foreign rule '{other}' takes traffic {traffic} before ours")
            elif _shares_mark(other, rule):
                yield Problem("foreign_conflict", f"foreign rule '{other}' is for traffic {traffic}, too")
    for route in (*need.routes, *need.standing):
        for rival in state.routes:
            if route.version == 6 and _twins(rival, route):
                yield Problem("foreign_conflict", f"foreign route '{rival}' stands where '{route}' should")
            elif route in need.routes and not rival.ours and _beats(rival, route):
                yield Problem("foreign_conflict", f"foreign route '{rival}' takes traffic before '{route}'")


def _shares_mark(other: Rule, rule: Rule) -> bool:
    """Tell whether a foreign rule sends packets elsewhere by the bits that are ours, and a packet can be meant by both.

    Then its program sets those bits too: whichever rule comes first takes packets of the other.
    """
    common = other.mask & rule.mask
    if not common or (other.mark ^ rule.mark) & common:
        return False
    return other.action in _CATCHING_ACTIONS or (other.action == LOOKUP and other.table != rule.table)


def _catches(other: Rule, rule: Rule, state: HostState) -> bool:
    """Tell whether a foreign rule takes all traffic to the internet that should match `rule`.

    Rules with further selectors (a mark, a port, a destination) are an operator's exceptions, not accidents; and so is
    one with a source where the traffic has a mark, whatever its source. Of two rules of one priority the older wins;
    which that is cannot be read.
    """
    if other.priority == 0 or other.priority > rule.priority:
        return False
    if other.extra or other.mask or other.suppress is not None or other.oif or other.destination is not None:
        return False
    if other.iif not in {None, rule.iif} or not other.source.overlaps(rule.source):
        return False
    return not (rule.mask and other.source.prefixlen) and _leads_away(other, rule, state)


def _leads_away(other: Rule, rule: Rule, state: HostState) -> bool:
    if other.action == LOOKUP:
        if other.table == rule.table:
            return False
        everything = anywhere(rule.version)
        return any(r.table == other.table and r.destination == everything and r.kind != "throw" for r in state.routes)
    return other.action in _CATCHING_ACTIONS


def _beats(rival: Route, route: Route) -> bool:
    """Tell whether a foreign route wins over ours: a longer prefix, or the same and a better metric, by another way.

    In IPv6 the same metric is enough: the kernel takes turns, or the older one.
    """
    if rival.table != route.table or rival.version != route.version or rival.kind == "throw":
        return False
    if rival.device == route.device and rival.gateway is None and rival.kind == "unicast":
        return False
    if not _within(rival.destination, route.destination):
        return False
    if rival.destination != route.destination:
        return True
    return rival.metric < route.metric or (route.version == 6 and rival.metric == route.metric)


def _within(inner: IPNetwork, outer: IPNetwork) -> bool:
    return inner.prefixlen >= outer.prefixlen and inner.overlaps(outer)
