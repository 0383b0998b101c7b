# SPDX-License-Identifier: GPL-3.0-or-later
"""A dashboard for Grafana, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mpquic.metrics.panels import ROWS
from mpquic.metrics.rules import expression
from mpquic.metrics.table import PATH_STATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.metrics.panels import Panel

#: Columns of Grafana's grid, and heights in its rows.
_WIDTH = 24
_HEIGHT = 8
_LOW = 4
_SELECTION = 'instance=~"$instance",tunnel=~"$tunnel"'
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_GREEN, _YELLOW, _RED = "green", "yellow", "red"
#: Colour of each state of a path, by its place in PATH_STATES.
_STATE_COLOURS = (_GREEN, "blue", "orange", _RED, _YELLOW, _RED)


def text() -> str:
    """Return the dashboard as JSON."""
    board = {
        "uid": "mpquic",
        "title": "MPQUIC tunnels",
        "tags": ["mpquic"],
        "timezone": "browser",
        "schemaVersion": 37,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(), 1)],
    }
    return json.dumps(board, indent=2) + "\n"


def _variables() -> list[dict[str, Any]]:
    source = {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}
    return [source, _variable("instance", "Host", ""), _variable("tunnel", "Tunnel", '{instance=~"$instance"}')]


def _variable(name: str, label: str, selection: str) -> dict[str, Any]:
    query = f"label_values({expression('{mpquic_tunnel_up}')}{selection}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 3,
    }


def _panels() -> Iterator[dict[str, Any]]:
    """Yield the rows and their panels, each line of the grid as high as its panels."""
    y = 0
    for title, found in ROWS:
        place = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
        yield {"gridPos": place, "type": "row", "title": title, "collapsed": False, "panels": []}
        x, y, height = 0, y + 1, 0
        for panel in found:
            if x + panel.width > _WIDTH:
                x, y = 0, y + height
            height = _LOW if panel.kind == "stat" else _HEIGHT
            yield {"gridPos": {"x": x, "y": y, "w": panel.width, "h": height}, **_panel(panel)}
            x += panel.width
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.kind == "state-timeline":
        defaults["mappings"] = [
            {
                "type": "value",
                "options": {
                    str(at): {"text": state, "color": colour, "index": at}
                    for at, (state, colour) in enumerate(zip(PATH_STATES, _STATE_COLOURS, strict=True))
                },
            }
        ]
    elif panel.kind == "stat" and panel.title.endswith(("down", "Drift")):
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": _GREEN, "value": None}, {"color": _RED, "value": 1}],
        }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [_target(at, *query, kind=panel.kind) for at, query in enumerate(panel.queries)],
    }


def _target(at: int, query: str, legend: str, *, kind: str) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + at),
        "datasource": _SOURCE,
        "expr": expression(query).replace("SELECTED", _SELECTION),
        "legendFormat": legend,
        **({"format": "heatmap"} if kind == "heatmap" else {}),
        **({"instant": True} if kind == "stat" else {}),
    }
