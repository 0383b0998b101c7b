# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a run: an SVG file without any dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import panels
from tests.bench.peers import OURS, PATHS, PYTHON
from tests.bench.svg import FAINT, INK, RULE, Drawing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.panels import Bar, Group, Panel
    from tests.bench.results import Results

_WIDTH, _MARGIN, _GAP = 1240, 36, 48
_HALF = (_WIDTH - 2 * _MARGIN - _GAP) / 2
#: Pixels from the top of a bar to that of the next, its height, and the columns of names and of numbers.
_PITCH, _THICK, _NAMES, _NUMBERS = 21, 13, 168, 150
_HEAD, _GROUP, _BETWEEN = 50, 24, 26
_COLORS = {
    OURS: "#0a7f62",
    PYTHON: "#3d9078",
    PATHS: "#5fb39d",
    "wireguard-go-13": "#7b8da0",
    "wireguard-go": "#a9b6c3",
    "openvpn": "#dfa75b",
}
_OTHER = "#c9d1d9"


def save(results: Results, path: Path) -> None:
    """Write the picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draw(results))


def draw(results: Results) -> str:
    """Return the picture as SVG."""
    drawing = Drawing()
    about = results.about
    drawing.text(_MARGIN, 50, "mpquic and the other tunnels, in one run", 24, INK, "bold")
    told = (
        f"Medians of {about['rounds']} interleaved rounds on {about['cpus']} cores shared by both ends; "
        f"kernel {about['kernel']}; inner MTU 1300; {about['date']}"
    )
    drawing.text(_MARGIN, 74, told, 13, FAINT)
    top = 100.0
    for left, right in panels.rows(results):
        drawing.line((_MARGIN, top), (_WIDTH - _MARGIN, top))
        halves = [
            _half(drawing, _MARGIN, top + _BETWEEN, left),
            _half(drawing, _MARGIN + _HALF + _GAP, top + _BETWEEN, right),
        ]
        top = max(halves) + _BETWEEN / 2
    return drawing.document(_WIDTH, top + _MARGIN / 2, "mpquic compared with other tunnels")


def _half(drawing: Drawing, x: float, y: float, stack: list[Panel]) -> float:
    """Draw panels below each other and return where the next could begin."""
    for panel in stack:
        y = _panel(drawing, x, y, panel) + _BETWEEN / 2
    return y


def _panel(drawing: Drawing, x: float, y: float, panel: Panel) -> float:
    drawing.text(x, y + 14, panel.title, 17, INK, "bold")
    drawing.text(x, y + 33, panel.remark, 12, FAINT)
    y += _HEAD
    longest = max(max(bar.value or 0.0, bar.reach or 0.0) for group in panel.groups for bar in group.bars)
    scale = (_HALF - _NAMES - _NUMBERS) / longest if longest else 0.0
    for group in panel.groups:
        if group.bars:
            y = _group(drawing, x, y, group, scale)
    return y


def _group(drawing: Drawing, x: float, y: float, group: Group, scale: float) -> float:
    if group.heading:
        drawing.text(x, y + 12, group.heading, 12, INK, "bold")
        y += _GROUP
    start = x + _NAMES
    drawing.line((start, y - 3), (start, y + _PITCH * len(group.bars) - 4), RULE)
    compared = len({bar.peer for bar in group.bars}) > 1
    for bar in group.bars:
        _bar(drawing, start, y, bar, scale, "bold" if compared and bar.peer == OURS else "")
        y += _PITCH
    return y + 4


def _bar(drawing: Drawing, start: float, y: float, bar: Bar, scale: float, style: str) -> None:
    base = y + _THICK - 2
    drawing.text(start - 10, base, bar.name, 12, INK, f"end {style}")
    if bar.value is None:
        drawing.text(start + 8, base, bar.text, 12, FAINT)
        return
    color = _COLORS.get(bar.peer, _OTHER)
    drawing.bar(start, y, bar.value * scale, _THICK, color)
    end = start + max(bar.value, bar.reach or 0.0) * scale
    if bar.reach is not None:
        middle = y + _THICK / 2
        drawing.line((start + bar.value * scale, middle), (end, middle), color, 2)
        drawing.line((end, middle - 4), (end, middle + 4), color, 2)
    drawing.text(end + 8, base, bar.text, 12, INK, style)
