# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass of a packet through the kernel: hooks, rules, routes, and the settings that stop it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mpquic.host import sysctl
from mpquic.host.explain import kernel, lookup
from mpquic.host.explain.packet import Packet
from mpquic.host.routing import Problem
from mpquic.host.state import LOOKUP

if TYPE_CHECKING:
    from mpquic.host.explain.interpreter import Fired, Walk
    from mpquic.host.explain.packet import Address
    from mpquic.host.explain.sources import Sources
    from mpquic.host.state import HostState, Rule

_LOOSE = 2


@dataclass(slots=True)
class Way:
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
        """The interface that it leaves by, None when it does not."""
        return self.answer.device if self.answer and self.answer.kind == "unicast" and not self.dropped else None

    @property
    def ends_here(self) -> bool:
        """Whether it is for this host."""
        return self.answer is not None and self.answer.kind in lookup.LOCAL_KINDS


def take(packet: Packet, sources: Sources, walk: Walk, destination: Address | None = None) -> Way:
    """Send a packet through hooks and routing in the kernel's order.

    With a `destination` that is its own from routing on: a known flow's translation has been undone by then.
    """
    way = Way(walk)
    if packet.iif is not None:
        way.dropped = walk.enter("prerouting")
        if destination is not None:
            packet = walk.packet = replace(packet, destination=destination)
        if way.dropped is None:
            _look_up(way, packet, sources)
        if way.dropped is None and way.ends_here:
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


def _look_up(way: Way, packet: Packet, sources: Sources) -> None:
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
