# SPDX-License-Identifier: GPL-3.0-or-later
"""A few shapes of SVG 1.1: enough for bars with names and numbers."""

from __future__ import annotations

from html import escape

_FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
INK, FAINT, RULE, PAPER = "#1c2733", "#66727f", "#e3e8ee", "#ffffff"


class Drawing:
    """Shapes in the order in which they are painted; lengths are in pixels."""

    def __init__(self) -> None:
        """Start empty."""
        self._shapes: list[str] = []

    def text(self, x: float, y: float, text: str, size: int = 13, color: str = INK, style: str = "") -> None:
        """Write ``text`` with its baseline at ``y``. ``style`` may hold ``bold``, and ``end`` to end at ``x``."""
        more = ' font-weight="600"' if "bold" in style else ""
        more += ' text-anchor="end"' if "end" in style else ""
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}"{more}>{escape(text)}</text>'
        )

    def bar(self, x: float, y: float, width: float, height: float, color: str) -> None:
        """Paint a bar with slightly round corners."""
        shape = (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.5):.1f}" height="{height:.1f}" rx="2" fill="{color}"/>'
        )
        self._shapes.append(shape)

    def line(self, start: tuple[float, float], end: tuple[float, float], color: str = RULE, width: float = 1) -> None:
        """Draw a line."""
        (x1, y1), (x2, y2) = start, end
        self._shapes.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"/>'
        )

    def document(self, width: float, height: float, title: str) -> str:
        """Return the file: everything on a sheet of paper, so that it reads the same on dark pages."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="{_FONT}">'
        )
        paper = (
            f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="10" '
            f'fill="{PAPER}" stroke="{RULE}"/>'
        )
        return "\n".join([head, f"<title>{escape(title)}</title>", paper, *self._shapes, "</svg>", ""])
