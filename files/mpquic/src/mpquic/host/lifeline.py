# SPDX-License-Identifier: GPL-3.0-or-later
"""A rule of ours in the place of the kernel's ``lookup main``, after ``ip rule flush`` took that away. Pure: no I/O.

The kernel's rule is not ours, so it is not put back. But without any the host reaches nobody, neither tunnels nor
operator. Ours has a priority of its own, so that the kernel's can come back at any time; then ours goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.host.routing import LIFELINES, Problem
from mpquic.host.state import LOOKUP, MAIN_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.host.state import HostState, Rule


def needed(state: HostState) -> Iterator[tuple[Rule, Problem]]:
    """Yield the rules that are missing: where nothing is left but the rule for this host's own addresses and ours.

    Where other rules of others are left, somebody may have taken the main table's away on purpose.
    """
    for rule in LIFELINES:
        foreign = [found for found in state.rules if not found.ours and found.version == rule.version]
        if rule not in state.rules and foreign and all(found.priority == 0 for found in foreign):
            message = f"IPv{rule.version} has no rule for the main table any more, '{rule}' stands in for it"
            yield rule, Problem("main_rule_missing", message)


def spent(state: HostState) -> list[Rule]:
    """Return those of ours that are not needed any more."""
    return [rule for rule in LIFELINES if rule in state.rules and any(_same(found, rule) for found in state.rules)]


def _same(found: Rule, rule: Rule) -> bool:
    """Tell whether a rule of somebody else leads all packets to the main table."""
    return (
        not found.ours
        and (found.action, found.table, found.source) == (LOOKUP, MAIN_TABLE, rule.source)
        and not (found.iif or found.oif or found.destination or found.mask or found.extra)
        and found.suppress is None
    )
