# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for Prometheus, as a file."""

from __future__ import annotations

import re
from typing import Any

import yaml

from mpquic.metrics.alerts import ALERTS, RECORDINGS
from mpquic.metrics.table import metric

#: How often the recordings are computed; alerts are looked at as often as Prometheus evaluates.
_INTERVAL = "30s"
_HEADING = "# Made by `mpquic exporter --print rules` from the table of metrics: do not edit.\n---\n"
_REFERENCE = re.compile(r"(?<!\{)\{(mpquic_\w+)\}")


def expression(text: str) -> str:
    """Return an expression of mpquic.metrics.alerts as Prometheus has it. Raises KeyError for an unknown metric."""
    named = _REFERENCE.sub(lambda found: metric(found[1]).name, text)
    return named.replace("{{", "{").replace("}}", "}")


def text() -> str:
    """Return the file."""
    recordings: list[dict[str, Any]] = [
        {"record": each.name, "expr": expression(each.expression)} for each in RECORDINGS
    ]
    alerts = [
        {
            "alert": each.name,
            "expr": expression(each.expression),
            **({"for": each.since} if each.since != "0m" else {}),
            "labels": {"severity": each.severity},
            "annotations": {"summary": each.summary, "description": each.meaning, "command": each.command},
        }
        for each in ALERTS
    ]
    groups = [
        {"name": "mpquic-recordings", "interval": _INTERVAL, "rules": recordings},
        {"name": "mpquic-alerts", "rules": alerts},
    ]
    return _HEADING + yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Indents the items of a list, as yamllint wants it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Indent."""
        super().increase_indent(flow, indentless=False)
