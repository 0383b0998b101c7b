# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of one packet: classifier, rule, route, filters, tunnel, WAN; each as it is now, and as it is planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.host.errors import HostError, UsageError
from mpquic.host.explain import kernel, tunnels
from mpquic.host.explain.compare import compare
from mpquic.host.explain.expected import expected
from mpquic.host.explain.interpreter import Walk
from mpquic.host.explain.packet import TCP, UDP
from mpquic.host.explain.report import Explanation
from mpquic.host.explain.way import take
from mpquic.host.routing import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.host.explain.packet import Packet
    from mpquic.host.explain.sources import Sources
    from mpquic.host.explain.way import Way
    from mpquic.host.state import HostState

_MASQUERADE = "masquerade"


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
    way = take(packet, sources, Walk(sources.table, packet))
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
    found.differences += compare(way, sources, plan)
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


def _classified(way: Way, sources: Sources, found: Explanation) -> None:
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


def _routed(way: Way, found: Explanation) -> None:
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


def _end(way: Way, found: Explanation) -> None:
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
    elif answer is None or way.ends_here:
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


def _flow(packet: Packet, sources: Sources, way: Way, found: Explanation) -> None:
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
    kept = take(packet, sources, walk, flow.destination)
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
