# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and routes of all tables, also those of others: read, compared, put back."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpquic.host import netlink, sysctl
from mpquic.host.errors import HostError
from mpquic.host.guard import messages
from mpquic.host.guard.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mpquic.host.guard.messages import Route, Rule
    from mpquic.host.guard.rawlink import RawLink


@dataclass(frozen=True, slots=True)
class Routing:
    """Rules and routes, and the interfaces by the indices that they use."""

    rules: tuple[Rule, ...]
    routes: tuple[Route, ...]
    names: dict[int, str]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "rules": [rule.payload.hex() for rule in self.rules],
            "routes": [route.payload.hex() for route in self.routes],
            "names": {str(index): name for index, name in self.names.items()},
        }


def load(plain: dict[str, Any]) -> Routing:
    """Return what `Routing.plain` made."""
    return Routing(
        tuple(messages.Rule(bytes.fromhex(text)) for text in plain["rules"]),
        tuple(messages.Route(bytes.fromhex(text)) for text in plain["routes"]),
        {int(index): name for index, name in plain["names"].items()},
    )


def read(link: RawLink) -> Routing:
    """Read the rules and routes of both families.

    Raises:
        HostError: the kernel does not tell.

    """
    families = [socket.AF_INET, socket.AF_INET6] if sysctl.has_ipv6() else [socket.AF_INET]
    rules = [messages.rule(body) for family in families for body in link.rules(family)]
    routes = [messages.route(body) for family in families for body in link.routes(family)]
    names = dict(socket.if_nameindex())
    return Routing(tuple(rules), tuple(route for route in routes if route is not None), names)


def restore(link: RawLink, wanted: Routing) -> Report:
    """Bring rules and routes back; what is missing comes before what is too much goes, so that nothing is without.

    Left alone is what comes and goes by itself: the kernel's rules, routes of an address, a lease or an advertisement
    that came since, and whatever a routing daemon adds or withdraws. A route whose interface is gone cannot come back.
    """
    report = Report()
    wanted, found = _without_foreign(wanted), _without_foreign(read(link))
    gone = [rule for rule in wanted.rules if rule not in found.rules]
    extra = [rule for rule in found.rules if rule not in wanted.rules and not rule.kernel]
    for rule in gone:
        _attempt(report, f"put back the rule {_text(rule, found)}", link.add_rule, rule.request)
    for rule in extra:
        _attempt(report, f"removed the rule {_text(rule, found)}", link.delete_rule, rule.request)
    _restore_routes(link, wanted, found, report)
    return report


def _without_foreign(routing: Routing) -> Routing:
    return Routing(
        tuple(rule for rule in routing.rules if not rule.foreign),
        tuple(route for route in routing.routes if not route.foreign),
        routing.names,
    )


def _restore_routes(link: RawLink, wanted: Routing, found: Routing, report: Report) -> None:
    now = {name: index for index, name in found.names.items()}
    indices = {index: now[name] for index, name in wanted.names.items() if name in now}
    kept = []
    for old in wanted.routes:
        route = messages.moved(old, indices)
        if route is None:
            report.failed.append(f"put back the route {_text(old, wanted)}: its interface is gone")
        else:
            kept.append(route)
    missing = [route for route in kept if route not in found.routes]
    # A gateway can be named once there is a route to it.
    for route in sorted(missing, key=lambda route: not route.direct):
        _attempt(report, f"put back the route {_text(route, found)}", link.add_route, route.request)
    for route in found.routes:
        if route not in kept and not route.passing:
            _attempt(report, f"removed the route {_text(route, found)}", link.delete_route, route.payload)


def _attempt(report: Report, text: str, change: Callable[[bytes], None], message: bytes) -> None:
    try:
        change(message)
    except HostError as error:
        report.failed.append(f"{text}: {error}")
    else:
        report.done.append(text)


def _text(item: Rule | Route, routing: Routing) -> str:
    if isinstance(item, messages.Rule):
        return str(netlink.rule_of(item.payload))
    return str(netlink.route_of(item.payload, routing.names))


def texts(items: Iterable[Rule | Route], routing: Routing) -> list[str]:
    """Return rules or routes as ``ip`` would print them."""
    return [_text(item, routing) for item in items]
