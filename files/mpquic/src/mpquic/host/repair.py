# SPDX-License-Identifier: GPL-3.0-or-later
"""Check and fix the TUNs, rules and routes of instances.

Order matters more than speed. First the standing route and the rule, so that from then on nothing leaks; they stay even
when the rest fails. Then the TUN and the route through it. What is stale goes last, and a rule before its table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpquic.host import routing, tun
from mpquic.host.errors import HostError
from mpquic.host.instances import ALL
from mpquic.host.routing import Problem
from mpquic.host.state import IPV6_MIN_MTU
from mpquic.host.steps import Step, apply

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpquic.host.instances import Instance, Selection
    from mpquic.host.netlink import Kernel
    from mpquic.host.routing import Owned, Wanted
    from mpquic.host.state import HostState, Link, Route, Rule

REPAIRABLE = frozenset(
    {"tun_missing", "tun_down", "tun_address", "tun_settings", "rule_missing", "rule_wrong", "route_missing"}
    | {"route_wrong", "standing_route_missing", "stale_rule", "stale_route"}
)
"""Codes of the problems that `fix` can do something about."""


@dataclass(slots=True)
class Report:
    """What was found and done for one instance; `problems` are those that remain, `repaired` those that are gone."""

    instance: Instance
    problems: list[Problem]
    repaired: list[Problem] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """The reports of all chosen instances, and what of ours belongs to none."""

    reports: list[Report]
    stale_before: list[str]
    stale_after: list[str]
    stale_actions: list[str] = field(default_factory=list)
    stale_failures: list[Problem] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was changed, or would be."""
        return self.stale_before != self.stale_after or any(report.before != report.after for report in self.reports)

    @property
    def degraded(self) -> int:
        """How many instances still have problems."""
        return sum(1 for report in self.reports if report.problems)


@dataclass(slots=True)
class _Plan:
    """The steps for one instance, in groups that stand or fall together."""

    report: Report
    groups: list[list[Step]]
    predicted: dict[str, Any]


def check(state: HostState, selection: Selection) -> Outcome:
    """Compare the host with the instances."""
    reports = []
    for instance in selection.chosen:
        plan = _plan(instance, selection.known, state)
        plan.report.after = plan.report.before
        reports.append(plan.report)
    stale, _steps = _orphans(selection, state)
    return Outcome(reports, stale, stale)


def fix(kernel: Kernel, selection: Selection, *, dry: bool) -> Outcome:
    """Bring the host to what the instances need; with `dry` only say what would be done.

    With one instance as target only its objects are touched. With ``all``, objects of ours that belong to no instance
    are removed too. A failure at one instance is reported as its problem and does not stop the others.
    """
    state = kernel.read()
    plans = [_plan(instance, selection.known, state) for instance in selection.chosen]
    stale_before, purge = _orphans(selection, state)
    if dry:
        for plan in plans:
            plan.report.actions = [step.text for group in plan.groups for step in group]
            plan.report.after = plan.predicted
        return Outcome([plan.report for plan in plans], stale_before, [], [step.text for step in purge])
    failures = {plan.report.instance.id: _apply_groups(kernel, plan) for plan in plans}
    stale_actions, stale_failures = _apply(kernel, purge)
    state = kernel.read()
    for plan in plans:
        _conclude(plan, failures[plan.report.instance.id], selection, state)
    stale_after, _steps = _orphans(selection, state)
    return Outcome([plan.report for plan in plans], stale_before, stale_after, stale_actions, stale_failures)


def _apply_groups(kernel: Kernel, plan: _Plan) -> list[Problem]:
    failures = []
    for group in plan.groups:
        done, failure = _apply(kernel, group)
        plan.report.actions += done
        failures += failure
    return failures


def _apply(kernel: Kernel, steps: list[Step]) -> tuple[list[str], list[Problem]]:
    try:
        apply(kernel, steps)
    except HostError as error:
        return [], [Problem("fix_failed", str(error))]
    return [step.text for step in steps], []


def _conclude(plan: _Plan, failures: list[Problem], selection: Selection, state: HostState) -> None:
    """Read again what remains wrong: a fix that changed nothing must not be reported as one that did."""
    report = plan.report
    found = report.problems
    again = _plan(report.instance, selection.known, state).report
    report.after = again.before
    report.repaired = [problem for problem in found if problem not in again.problems]
    report.problems = again.problems + failures


def _plan(instance: Instance, known: Sequence[Instance], state: HostState) -> _Plan:
    need = routing.wanted(instance)
    mine = routing.owned(instance, known, state)
    found: list[Problem] = []
    tun_steps: list[Step] = []
    routes: list[Step] = []
    device_before = device_after = _device(instance, state)
    reachable: tuple[Route, ...] = ()
    try:
        change = tun.plan(_tun_spec(instance, state), state)
    except HostError as error:
        found.append(Problem("tun_foreign", str(error)))
    else:
        found += _tun_problems(instance.tun, change)
        tun_steps = list(change.steps)
        device_after = change.after
        need, lost = _with_possible_families(instance, need, change, state)
        found += lost
        reachable = need.routes
        routes = _additions(need.routes, mine, state)
    leftover = routing.stale(need, mine)
    found += routing.problems(instance, need, mine, state)
    guard = _additions(need.standing, mine, state)
    guard += [add_rule(rule) for rule in need.rules if rule not in mine.rules]
    cleanup = [delete_rule(rule) for rule in leftover.rules] + [delete_route(route) for route in leftover.routes]
    before = {"tun": device_before, "rules": _texts(mine.rules), "routes": _texts(mine.routes)}
    predicted = {
        "tun": device_after,
        "rules": _texts(need.rules),
        "routes": _texts(r for r in (*reachable, *need.standing) if r in mine.routes or routing.room_for(r, state)),
    }
    return _Plan(Report(instance, found, before=before), [guard, tun_steps + routes, cleanup], predicted)


def _tun_spec(instance: Instance, state: HostState) -> tun.TunSpec:
    """Return the TUN of an instance.

    An existing device keeps its owner, which may be attached, and its MTU, which the daemon may have lowered; unless no
    daemon is there and what one has left is too little for IPv6.
    """
    link = state.links.get(instance.tun)
    kept = link is not None and (link.carrier or instance.address6 is None or link.mtu >= IPV6_MIN_MTU)
    return tun.TunSpec(
        name=instance.tun,
        address=instance.address,
        mtu=None if kept else instance.mtu,
        address6=instance.address6,
        also=instance.also,
    )


def _with_possible_families(
    instance: Instance, need: Wanted, change: tun.Change, state: HostState
) -> tuple[Wanted, list[Problem]]:
    """Return what of IPv6 can be had now, and why not all."""
    if instance.address6 is None and all(route.version == 4 for route in need.standing):
        return need, []
    if not state.ipv6:
        return routing.without_ipv6(need, guard=False), [Problem("ipv6_off", "this kernel has no IPv6")]
    mtu = change.after["mtu"] if change.after else 0
    if mtu < IPV6_MIN_MTU:
        problem = Problem("ipv6_off", f"TUN {instance.tun} has MTU {mtu}, and IPv6 needs {IPV6_MIN_MTU}")
        return routing.without_ipv6(need, guard=True), [problem]
    return need, []


def _additions(routes: Iterable[Route], mine: Owned, state: HostState) -> list[Step]:
    return [add_route(route) for route in routes if route not in mine.routes and routing.room_for(route, state)]


def _device(instance: Instance, state: HostState) -> dict[str, Any] | None:
    link = state.links.get(instance.tun)
    ipv6 = instance.address6 is not None
    return tun.view(link, state.addresses_of(instance.tun), ipv6=ipv6) if link else None


def _tun_problems(name: str, change: tun.Change) -> list[Problem]:
    before, after = change.before, change.after
    if after is None or before == after:
        return []
    if before is None:
        return [Problem("tun_missing", f"TUN {name} does not exist")]
    found = []
    if not before["up"]:
        found.append(Problem("tun_down", f"TUN {name} is down"))
    if before["addresses"] != after["addresses"]:
        have = ", ".join(before["addresses"]) or "none"
        need = ", ".join(after["addresses"])
        found.append(Problem("tun_address", f"TUN {name} has address {have}, expected {need}"))
    differing = [key for key in ("mtu", "queue_length", "alias", "settings") if before[key] != after[key]]
    found += [
        Problem("tun_settings", f"TUN {name} has {key} {before[key]}, expected {after[key]}") for key in differing
    ]
    return found


def _orphans(selection: Selection, state: HostState) -> tuple[list[str], list[Step]]:
    """Return what of ours belongs to no instance; nobody's business unless all instances are meant."""
    if selection.target != ALL:
        return [], []
    orphan = routing.owned(None, selection.known, state)
    used = {instance.tun for instance in selection.known}
    devices = [link for link in state.links.values() if _abandoned(link) and link.name not in used]
    texts = [f"rule {rule}" for rule in orphan.rules] + [f"route {route}" for route in orphan.routes]
    steps = [delete_rule(rule) for rule in orphan.rules] + [delete_route(route) for route in orphan.routes]
    return texts + [f"TUN {link.name}" for link in devices], steps + [tun.removal(link) for link in devices]


def _abandoned(link: Link) -> bool:
    """Tell whether a device is a TUN of ours to which no program is attached (then it has no carrier)."""
    return link.tun is not None and link.tun.persistent and link.alias == tun.ALIAS and not link.carrier


def _texts(objects: Iterable[Rule | Route]) -> list[str]:
    return sorted(str(item) for item in objects)


def add_rule(rule: Rule) -> Step:
    """Return the step that adds a rule."""
    return Step(f"add rule {rule}", lambda kernel: kernel.add_rule(rule), lambda kernel: kernel.delete_rule(rule))


def delete_rule(rule: Rule) -> Step:
    """Return the step that deletes a rule."""
    return Step(f"delete rule {rule}", lambda kernel: kernel.delete_rule(rule), lambda kernel: kernel.add_rule(rule))


def add_route(route: Route) -> Step:
    """Return the step that adds a route."""
    return Step(f"add route {route}", lambda kernel: kernel.add_route(route), lambda kernel: kernel.delete_route(route))


def delete_route(route: Route) -> Step:
    """Return the step that deletes a route."""
    return Step(
        f"delete route {route}", lambda kernel: kernel.delete_route(route), lambda kernel: kernel.add_route(route)
    )
