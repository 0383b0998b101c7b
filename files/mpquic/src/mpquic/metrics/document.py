# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference part of docs/metrics.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core.samples import RTT_BOUNDS
from mpquic.metrics.alerts import ALERTS, RECORDINGS
from mpquic.metrics.rules import expression
from mpquic.metrics.table import LABELS, METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What is before the generated part in the page.
MARK = "<!-- Made by `mpquic exporter --print table`: do not edit below. -->\n"


def text() -> str:
    """Return the reference, from its mark on."""
    bounds = ", ".join(f"{bound:g}" for bound in RTT_BOUNDS)
    parts = [
        MARK,
        "## Metrics\n",
        _table(
            ("metric", "kind", "labels", "what"),
            ((f"`{each.name}`", each.kind, ", ".join(each.labels) or "-", each.text) for each in METRICS),
        ),
        f"The bounds of the histogram are {bounds} s.\n",
        "## Labels\n",
        _table(("label", "value"), ((f"`{name}`", value) for name, value in LABELS.items())),
        "## Recorded values\n",
        _table(
            ("name", "expression", "what"),
            ((f"`{each.name}`", f"`{expression(each.expression)}`", each.text) for each in RECORDINGS),
        ),
        "## Alerts\n",
        _table(
            ("alert", "severity", "when", "for", "what it means", "what to run"),
            (
                (
                    f"`{each.name}`",
                    each.severity,
                    f"`{expression(each.expression)}`",
                    each.since,
                    each.meaning,
                    _code(each.command),
                )
                for each in ALERTS
            ),
        ),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _code(command: str) -> str:
    return f"`{command.replace('{{ $labels.tunnel }}', 'ID')}`"


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
