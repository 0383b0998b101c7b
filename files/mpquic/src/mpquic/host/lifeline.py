# SPDX-License-Identifier: GPL-3.0-or-later
"""A rule of ours in the place of the kernel's ``lookup main``, after ``ip rule flush`` took that away. Pure: no I/O.

The kernel's rule is not ours, so it is not put back. But without any the host reaches nobody, neither tunnels nor
operator. Ours has a priority of its own, so that the kernel's can come back at any time; then ours goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpquic.host.routing import LIFELINES, Problem
from mpquic.host.state import LOOKUP, MAIN_TABLE

if TYPE_CHECKING:
    from mpquic.host.state import HostState, Rule

#: RT_TABLE_DEFAULT (linux/rtnetlink.h)
_LAST_RESORT = 253


@dataclass(slots=True)
class Lifeline:
    """Remembers which IP versions had a rule for the main table: where there was none, somebody wants it so."""

    _had: set[int] = field(default_factory=set)

    def needed(self, state: HostState) -> list[tuple[Rule, Problem]]:
        """Return the rules that are missing: where nothing that takes all packets is left of what others had."""
        found = []
        for rule in LIFELINES:
            foreign = [other for other in state.rules if not other.ours and other.version == rule.version]
            if any(_leads_to_main(other) for other in foreign):
                self._had.add(rule.version)
            flushed = all(other.priority == 0 for other in foreign)
            if not foreign or not (flushed or rule.version in self._had) or rule in state.rules:
                continue
            if not any(_takes_all(other) for other in foreign if other.priority):
                message = f"IPv{rule.version} has no rule for the main table any more, '{rule}' stands in for it"
                found.append((rule, Problem("main_rule_missing", message)))
        return found

    def spent(self, state: HostState) -> list[Rule]:
        """Return those of ours that are not needed any more."""
        mains = {rule.version for rule in state.rules if not rule.ours and _leads_to_main(rule)}
        return [rule for rule in LIFELINES if rule in state.rules and rule.version in mains]


def _leads_to_main(rule: Rule) -> bool:
    return rule.table == MAIN_TABLE and _takes_all(rule)


def _takes_all(rule: Rule) -> bool:
    """Tell whether a rule looks all packets up somewhere, but in the table of last resort, which is empty as a rule."""
    narrowed = rule.iif or rule.oif or rule.destination or rule.mask or rule.extra or rule.source.prefixlen
    return rule.action == LOOKUP and rule.table != _LAST_RESORT and rule.suppress is None and not narrowed
