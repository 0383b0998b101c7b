# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of one packet: classifier, rule, route, filters, tunnel, WAN; each as it is now, and as it is planned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpquic.config.model import MARK_MASK
from mpquic.host import sysctl
from mpquic.host.errors import HostError, UsageError
from mpquic.host.explain import kernel, lookup, tunnels
from mpquic.host.explain.expected import expected
from mpquic.host.explain.interpreter import Walk
from mpquic.host.explain.packet import TCP, UDP, Packet
from mpquic.host.explain.report import Explanation
from mpquic.host.routing import Problem
from mpquic.host.state import LOOKUP, MAIN_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpquic.config import InstanceConfig
    from mpquic.host.explain.expected import Expected
    from mpquic.host.explain.interpreter import Fired
    from mpquic.host.explain.plan import Classes
    from mpquic.host.explain.ruleset import Table
    from mpquic.host.instances import Instance
    from mpquic.host.shaper.document import Link
    from mpquic.host.state import HostState, Rule

_TABLES = {255: "local", MAIN_TABLE: "main", 253: "default"}
_MASQUERADE = "masquerade"
_LOOSE = 2


@dataclass(frozen=True, slots=True)
class Sources:
    """The live state and the plan; `load` reads an instance's file, `ask` its daemon's status (None: no answer)."""

    table: Table
    table_wanted: bool
    state: HostState
    classes: Classes
    instances: Sequence[Instance]
    shaper: Sequence[Link]
    load: Callable[[Instance], InstanceConfig]
    ask: Callable[[str], dict[str, Any] | None]


@dataclass(slots=True)
class _Way:
    """One pass through the kernel; a rule `dropped` the packet, or the kernel's settings `stopped` it."""

    walk: Walk
    rule: Rule | None = None
    decision: lookup.Decision | None = None
    answer: kernel.Answer | None = None
    dropped: Fired | None = None
    stopped: Problem | None = None
    disagreement: str | None = None

    @property
    def device(self) -> str | None:
        return self.answer.device if self.answer and self.answer.kind == "unicast" and not self.dropped else None


def explain(packet: Packet, sources: Sources) -> Explanation:
    """Explain the first packet of a new flow.

    Raises:
        UsageError: this host can neither have sent it nor have received it there.
        HostError: the kernel does not answer.

    """
    _check_origin(packet, sources)
    found = Explanation(packet)
    plan = expected(packet, sources.classes, sources.instances)
    found.planned = plan.result() if plan else None
    way = _way(packet, sources, Walk(sources.table, packet))
    found.uncertain += way.walk.doubts
    found.notes += way.walk.missing
    found.step("packet", str(packet))
    _classified(way, sources, found)
    _routed(way, found)
    if not found.delivered or found.verdict == "local":
        pass
    elif (tunnel := _tunnel(way.device, sources)) is not None:
        status = tunnels.enter(tunnel, packet, way.walk.dscp, found)
        if found.verdict == "tunnel":
            tunnels.leave(tunnel, status, found, state=sources.state, table=sources.table, shaper=sources.shaper)
    else:
        found.step("leaves", f"by {way.device}, through no tunnel")
    _compare(way, sources, plan, found)
    _flow(packet, sources, way, found)
    _foreign(packet, sources, found)
    return found


def _check_origin(packet: Packet, sources: Sources) -> None:
    state = sources.state
    if packet.version == 6 and not state.ipv6:
        raise UsageError("explain: this kernel has no IPv6")
    if packet.iif is not None:
        if packet.iif not in state.links:
            raise UsageError(f"explain: iif {packet.iif}: this host has no such interface")
        return
    if packet.source in _own(state) or packet.source.is_loopback or packet.source.is_link_local:
        return
    lans = {name for link in sources.classes.links for name, prefixes in link.lans if _any(packet, prefixes)}
    lans |= {i.lan.interface for i in sources.instances if i.lan and i.lan.interface and _any(packet, i.lan.cidrs)}
    hint = f", such as --iif {min(lans)}" if lans else ""
    raise UsageError(
        f"explain: src {packet.source} is no address of this host: expected --iif, the interface it comes in by{hint}"
    )


def _any(packet: Packet, prefixes: Sequence[Any]) -> bool:
    return any(packet.source in prefix for prefix in prefixes)


def _own(state: HostState) -> set[Any]:
    return {address.ip for held in state.addresses.values() for address in held}


def _way(packet: Packet, sources: Sources, walk: Walk) -> _Way:
    """Send a packet through hooks and routing in the kernel's order."""
    way = _Way(walk)
    if packet.iif is not None:
        way.dropped = walk.enter("prerouting")
        if way.dropped is None:
            _look_up(way, packet, sources)
        if way.dropped is None and way.answer is not None and way.answer.kind in lookup.LOCAL_KINDS:
            way.dropped = walk.enter("input")
        elif way.dropped is None and way.device is not None:
            walk.oif = way.device
            way.dropped = walk.enter("forward") or walk.enter("postrouting")
        return way
    _look_up(way, packet, sources)
    if way.device is not None:
        before, walk.oif = walk.mark, way.device
        way.dropped = walk.enter("output")
        # A chain of type route has the packet routed anew when it changed the mark.
        if walk.mark != before and any(chain.kind == "route" for chain in sources.table.hooked("output")):
            _look_up(way, packet, sources)
            walk.oif = way.device
        way.dropped = way.dropped or walk.enter("postrouting")
    return way


def _look_up(way: _Way, packet: Packet, sources: Sources) -> None:
    """Ask both the rules as they were read and the kernel; the kernel is right."""
    way.decision = decision = lookup.decide(sources.state, packet, way.walk.mark)
    way.answer = answer = kernel.route(packet, way.walk.mark)
    way.rule = decision.rule
    way.stopped = _stopped(packet, sources, decision, answer)
    if way.stopped is not None:
        return
    device = decision.route.device if decision.route else None
    same_kind = (answer.kind == decision.kind) or {answer.kind, decision.kind} <= {
        "unreachable",
        "prohibit",
        "blackhole",
    }
    same_table = answer.table is None or (decision.rule is not None and decision.rule.table == answer.table)
    if same_kind and same_table and (answer.kind != "unicast" or device in {None, answer.device}):
        return
    by_other = next((rule for rule in decision.unsure if rule.action == LOOKUP and rule.table == answer.table), None)
    if by_other is not None:
        way.rule, way.decision = by_other, lookup.Decision(by_other, None, decision.unsure)
        return
    way.disagreement = f"the rules and routes read say '{_decided(decision)}', the kernel says '{answer}', which counts"


def _stopped(packet: Packet, sources: Sources, decision: lookup.Decision, answer: kernel.Answer) -> Problem | None:
    """Tell which setting of the kernel keeps a packet from a route that there is."""
    if packet.iif is None or decision.kind != "unicast" or answer.kind in lookup.LOCAL_KINDS:
        return None
    if not _forwards(packet):
        where = packet.iif if packet.version == 4 else "this host"
        return Problem("not_forwarding", f"forwarding of IPv{packet.version} is off on {where}")
    if answer.kind != "unicast" and packet.version == 4 and not _comes_back(packet, packet.iif, sources.state):
        text = f"{packet.iif} drops it: the way back to {packet.source} is not by {packet.iif} (rp_filter)"
        return Problem("reverse_path", text)
    return None


def _forwards(packet: Packet) -> bool:
    if packet.version == 6:
        return sysctl.read("ipv6/forwarding", "all") != 0
    return sysctl.read("ipv4/forwarding", str(packet.iif)) != 0


def _comes_back(packet: Packet, iif: str, state: HostState) -> bool:
    """Tell whether the reverse path filter lets a source in (ip-sysctl: the higher of all and the interface counts)."""
    mode = max(sysctl.read("ipv4/rp_filter", name) or 0 for name in ("all", iif))
    back = lookup.decide(state, Packet(packet.destination, packet.source), 0)
    by = back.route.device if back.route is not None and back.kind == "unicast" else None
    return mode == 0 or (by is not None and (mode == _LOOSE or by == iif))


def _decided(decision: lookup.Decision) -> str:
    if decision.rule is None:
        return "no route"
    return f"{decision.rule}: {decision.route}" if decision.route else str(decision.rule)


def _classified(way: _Way, sources: Sources, found: Explanation) -> None:
    """Say which LAN, match and mark the live table gives."""
    walk = way.walk
    found.mark = walk.mark
    if not sources.table.loaded:
        found.step("classify", "the table inet mpquic is not loaded")
        return
    base = {chain.name for hook in ("prerouting", "output") for chain in sources.table.hooked(hook)}
    marked = next((i for i, fired in enumerate(walk.fired) if fired.effect.startswith("mark ")), None)
    if marked is None:
        if found.packet.iif is not None and base:
            found.step("classify", "no class: no rule of the table marks it")
        return
    before = walk.fired[: marked + 1]
    entry = next((fired for fired in before if fired.chain in base), before[0])
    branches = [fired for fired in before if fired.effect.startswith(("goto ", "jump "))]
    match = branches[-1] if branches else before[-1]
    chosen = sources.classes.marked(walk.mark)
    found.class_ = chosen.name if chosen else None
    found.match = match.rule.comment or match.rule.text
    found.lan = {"interface": found.packet.iif, "chain": entry.chain, "rule": entry.rule.text}
    found.step("lan", f"{entry.chain}: {entry.rule.text}")
    if match is not entry:
        found.step("match", f"{match.chain}: {match.rule.text}")
    found.step("mark", f"{walk.mark:#010x}" + (f", class {chosen.name}" if chosen else ", of no class of the plan"))


def _routed(way: _Way, found: Explanation) -> None:
    """Say which rule and route decide, and whether a chain or the kernel drops the packet."""
    answer, rule = way.answer, way.rule
    if answer is not None:
        if rule is not None:
            found.rule = {"priority": rule.priority, "table": rule.table, "text": str(rule)}
            found.step("rule", str(rule))
        route = way.decision.route if way.decision and way.disagreement is None else None
        text = str(route) if route else str(answer)
        table = answer.table if answer.table is not None else rule.table if rule else None
        found.route = {
            "kind": answer.kind,
            "device": answer.device,
            "gateway": answer.gateway,
            "table": table,
            "metric": route.metric if route else None,
            "text": text,
        }
        found.step("route", text if answer.device is None or answer.device in text else f"{text} dev {answer.device}")
        found.device = answer.device
    if way.disagreement:
        found.uncertain.append(way.disagreement)
    for rule in way.decision.unsure if way.decision else ():
        if rule is not way.rule:
            found.notes.append(
                f"rule '{rule}' was held to the kernel's answer: the values of ({', '.join(rule.extra)}) are not read"
            )
    _end(way, found)


def _end(way: _Way, found: Explanation) -> None:
    """Set the verdict as far as it is known before the tunnel."""
    packet, answer = found.packet, way.answer
    if way.dropped is not None:
        found.verdict = "dropped"
        text = f"dropped by {way.dropped.chain}: {way.dropped.rule.text}"
        found.step("filter", text)
        found.differences.append(Problem("dropped", text))
    elif way.stopped is not None:
        found.verdict = "dropped"
        found.step("filter", way.stopped.message)
        found.differences.append(way.stopped)
    elif answer is None or answer.kind in lookup.LOCAL_KINDS:
        found.verdict = "local"
        found.step("result", "it ends on this host")
    elif answer.kind != "unicast":
        found.verdict = "unreachable"
        where = f" ({found.rule['text']})" if found.rule else ""
        found.differences.append(Problem("unreachable", f"{answer.kind}: no way to {packet.destination}{where}"))
    elif way.walk.masqueraded:
        rule = next(fired for fired in reversed(way.walk.fired) if fired.effect == _MASQUERADE)
        found.step("nat", f"{rule.chain}: {rule.rule.text}: its source becomes the address of {answer.device}")


def _tunnel(device: str | None, sources: Sources) -> tunnels.Tunnel | None:
    instance = next((one for one in sources.instances if one.tun == device), None)
    if instance is None:
        return None
    return tunnels.Tunnel(instance, sources.load(instance), sources.ask(instance.id))


def _compare(way: _Way, sources: Sources, plan: Expected | None, found: Explanation) -> None:
    """Hold what was found against the plan."""
    problems = found.differences
    problems += [Problem("not_understood", text) for text in way.walk.doubts]
    if sources.table_wanted and not sources.table.loaded:
        problems.append(Problem("table_missing", "the nft table inet mpquic is not loaded (mpquic routing fix)"))
    if found.verdict == "local" or way.answer is None:
        return
    _compare_class(way, sources, plan, found)
    if plan is None:
        return
    if plan.instance is None:
        problems.append(Problem("instance_missing", f"{plan.why}: no instance file has the TUN {plan.tun}"))
    if plan.rules and way.rule not in plan.rules:
        have = f"decided by '{way.rule}'" if way.rule else "no rule takes it"
        problems.append(Problem("rule_differs", f"{have}, the plan has '{plan.rules[0]}'"))
    link = sources.state.links.get(plan.tun)
    if link is None or not link.up:
        problems.append(
            Problem(
                "tun_missing" if link is None else "tun_down",
                f"TUN {plan.tun} " + ("is missing" if link is None else "is down"),
            )
        )
    if way.answer.kind == "unicast" and way.answer.device != plan.tun:
        problems.append(
            Problem("device_differs", f"its way is by {way.answer.device}, the plan has {plan.tun}: {plan.why}")
        )


def _compare_class(way: _Way, sources: Sources, plan: Expected | None, found: Explanation) -> None:
    live = way.walk.mark & MARK_MASK
    wanted = plan.chosen.chosen.mark & MARK_MASK if plan and plan.chosen else 0
    if live == wanted:
        return
    chosen = sources.classes.marked(live)
    have = f"mark {live:#010x} ({chosen.name if chosen else 'of no class'})" if live else "no class mark"
    need = f"{plan.why}, mark {wanted:#010x}" if plan and plan.chosen else "no class"
    found.differences.append(Problem("class_differs", f"the live table gives {have}, the plan has {need}"))


def _flow(packet: Packet, sources: Sources, way: _Way, found: Explanation) -> None:
    """Say whether the kernel tracks this very flow, and which way that goes: it keeps the class that it began with."""
    if packet.protocol not in {TCP, UDP} or packet.sport is None or packet.dport is None:
        found.notes.append("explained as a new flow: whether one is known needs tcp or udp, --sport and --dport")
        return
    try:
        flow = kernel.flow(packet)
    except HostError as error:
        found.notes.append(f"explained as a new flow: {error}")
        return
    if flow is None:
        return
    walk = Walk(sources.table, packet, ct_mark=flow.mark, ct_state=flow.state, direction=flow.direction)
    kept = _way(packet, sources, walk)
    chosen = sources.classes.marked(flow.mark)
    found.flow = {
        "mark": flow.mark,
        "class": chosen.name if chosen else None,
        "direction": "reply" if flow.direction else "original",
        "device": kept.device,
    }
    name = f"class {chosen.name}" if chosen else "no class"
    found.step("flow", f"known, with mark {flow.mark:#010x} ({name}): its packets go by {kept.device or 'no device'}")
    if kept.device != way.device:
        found.notes.append(
            f"a flow of these addresses and ports is known and goes on by {kept.device}, unlike a new one"
        )


def _foreign(packet: Packet, sources: Sources, found: Explanation) -> None:
    hooks = {"prerouting", "forward", "postrouting"} if packet.iif is not None else {"output", "postrouting"}
    names = sorted({name for hook, name in sources.table.foreign if hook in hooks and _of_family(name, packet)})
    if names:
        found.notes.append(f"chains of other nft tables see it too and were not examined: {', '.join(names)}")


def _of_family(name: str, packet: Packet) -> bool:
    return name.partition(" ")[0] in {"inet", "ip" if packet.version == 4 else "ip6"}
