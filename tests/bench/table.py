# SPDX-License-Identifier: GPL-3.0-or-later
"""The medians of a run as tables: plain text for the terminal, Markdown for the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.metrics import METRICS
from tests.bench.peers import OURS, PEERS
from tests.bench.wires import WIRE_TEXT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.floors import Verdict
    from tests.bench.metrics import Metric
    from tests.bench.results import Results

Rows = list[list[str]]


def rows(results: Results, wire: str) -> Rows:
    """Return the table of one wire: a heading, then one row for each figure. Ratios are mpquic divided by the peer."""
    peers = results.chosen("peers")
    table = [["", *(PEERS[peer].label for peer in peers)]]
    for metric in METRICS:
        cells = [_cell(results, wire, metric, peer) for peer in peers]
        if results.has(wire, metric.test) and any(cells):
            table.append([f"{metric.text}, {metric.unit}".removesuffix(", "), *cells])
    return table


def _cell(results: Results, wire: str, metric: Metric, peer: str) -> str:
    if peer in results.unavailable:
        return "not available"
    value = results.median(wire, metric.test, peer, metric.key)
    if value is None:
        return "failed" if results.failure(wire, metric.test, peer) else ""
    ratio = results.ratio(wire, metric.test, metric.key, (OURS, peer)) if peer != OURS else None
    return metric.format(value) + (f" ({ratio:.2f}x)" if ratio is not None else "")


def text(results: Results, verdicts: Sequence[Verdict]) -> str:
    """Return everything for the terminal."""
    parts = []
    for wire in results.chosen("wires"):
        parts += [f"{wire}: {WIRE_TEXT[wire]}", _aligned(rows(results, wire)), ""]
    if len(results.chosen("peers")) > 1:
        parts += ["In brackets: mpquic divided by that peer. Medians of all rounds.", ""]
    parts += [f"{name}: not available: {reason}" for name, reason in results.unavailable.items()]
    parts += [f"{verdict.status} {verdict.text}: {verdict.found}" for verdict in verdicts]
    return "\n".join(parts)


def _aligned(table: Rows) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)


def markdown(results: Results, verdicts: Sequence[Verdict]) -> str:
    """Return everything for the documentation."""
    about = results.about
    measured = (
        f"Measured {about['date']} with `{about['command']}`: {about['rounds']} rounds, {about['seconds']:.0f} s each, "
        f"kernel {about['kernel']}, {about['cpus']} cores of {about['cpu']}, Python {about['python']}. "
        "Medians; in brackets mpquic divided by that peer."
    )
    parts = [measured, ""]
    for wire in results.chosen("wires"):
        heading, *body = rows(results, wire)
        parts += [f"### {wire}: {WIRE_TEXT[wire]}", "", _line(heading), _line(["---", *["---:"] * (len(heading) - 1)])]
        parts += [*map(_line, body), ""]
    if verdicts:
        parts += ["### What was promised", "", _line(["", "promise", "found"]), _line(["---"] * 3)]
        parts += [_line([verdict.status, verdict.text, verdict.found]) for verdict in verdicts]
        parts.append("")
    versions = ", ".join(f"{PEERS[name].label} {version}" for name, version in about["versions"].items())
    parts.append(f"Versions: {versions}.")
    parts += [f"Not available: {name}: {reason}." for name, reason in results.unavailable.items()]
    return "\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
