# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found, held against the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.config.model import MARK_MASK
from mpquic.host.routing import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.host.explain.expected import Expected
    from mpquic.host.explain.sources import Sources
    from mpquic.host.explain.way import Way


def compare(way: Way, sources: Sources, plan: Expected | None) -> Iterator[Problem]:
    """Yield what differs from the plan, which is None when no tunnel is to take the packet."""
    for text in way.walk.doubts:
        yield Problem("not_understood", text)
    if sources.table_wanted and not sources.table.loaded:
        yield Problem("table_missing", "the nft table inet mpquic is not loaded (mpquic routing fix)")
    if way.answer is None or way.ends_here:
        return
    yield from _class(way, sources, plan)
    if plan is None:
        return
    if plan.instance is None:
        yield Problem("instance_missing", f"{plan.why}: no instance file has the TUN {plan.tun}")
    if plan.rules and way.rule not in plan.rules:
        have = f"decided by '{way.rule}'" if way.rule else "no rule takes it"
        yield Problem("rule_differs", f"{have}, the plan has '{plan.rules[0]}'")
    link = sources.state.links.get(plan.tun)
    if link is None:
        yield Problem("tun_missing", f"TUN {plan.tun} is missing")
    elif not link.up:
        yield Problem("tun_down", f"TUN {plan.tun} is down")
    if way.answer.kind == "unicast" and way.answer.device != plan.tun:
        yield Problem("device_differs", f"its way is by {way.answer.device}, the plan has {plan.tun}: {plan.why}")


def _class(way: Way, sources: Sources, plan: Expected | None) -> Iterator[Problem]:
    live = way.walk.mark & MARK_MASK
    wanted = plan.chosen.chosen.mark & MARK_MASK if plan and plan.chosen else 0
    if live == wanted:
        return
    chosen = sources.classes.marked(live)
    have = f"mark {live:#010x} ({chosen.name if chosen else 'of no class'})" if live else "no class mark"
    need = f"{plan.why}, mark {wanted:#010x}" if plan and plan.chosen else "no class"
    yield Problem("class_differs", f"the live table gives {have}, the plan has {need}")
