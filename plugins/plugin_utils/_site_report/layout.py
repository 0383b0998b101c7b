# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Boxes, texts and lines of drawings, in the units of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Width of a letter of 12 units, about.
_LETTER = 6.7


@dataclass(frozen=True)
class Label:
    """A line of text with its baseline at ``y``; ``kind`` is a class of the style sheet."""

    x: float
    y: float
    text: str
    kind: str = ""


@dataclass
class Box:
    """Something with a name. ``middle`` is where its middle should be."""

    title: str
    lines: Sequence[str]
    middle: float = 0.0
    tone: str = ""
    state: str = ""
    hint: str = ""
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    least: float = 0.0

    @property
    def height(self) -> float:
        """What its texts need."""
        return max(self.least, 28.0 + 16.0 * len(self.lines))

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def centre(self) -> float:
        """The height of its middle."""
        return self.y + self.height / 2

    @property
    def labels(self) -> list[Label]:
        """Its texts, cut to its width."""
        room = self.width - 20
        top = self.y + 19
        named = [Label(self.x + 10, top, fitted(self.title, room - _LETTER * (len(self.state) + 1)), "name")]
        if self.state:
            named.append(Label(self.right - 10, top, self.state, f"state {self.tone}"))
        below = [Label(self.x + 10, top + 16 * (n + 1), fitted(line, room), "") for n, line in enumerate(self.lines)]
        return named + below


@dataclass(frozen=True)
class Wire:
    """A line between two points, with a text at its end."""

    start: tuple[float, float]
    end: tuple[float, float]
    tone: str
    hint: str
    label: str = ""

    @property
    def curve(self) -> str:
        """The line as a path of SVG."""
        (x1, y1), (x2, y2) = self.start, self.end
        bend = (x2 - x1) * 0.45
        return f"M{x1:.1f},{y1:.1f} C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"


@dataclass
class Drawing:
    """A picture; ``said`` tells it to those who do not see it."""

    title: str
    said: str
    width: float
    height: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    frames: list[Box] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    heads: list[Label] = field(default_factory=list)


def fitted(text: str, room: float) -> str:
    """Return a text, cut where it would be wider than ``room``."""
    most = max(4, int(room / _LETTER))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def stack(boxes: Sequence[Box], x: float, width: float, top: float, gap: float) -> float:
    """Place boxes below each other, each as near to its middle as the others let it, and return where they end."""
    y = top
    for box in sorted(boxes, key=lambda box: box.middle):
        box.x, box.width = x, width
        box.y = max(y, box.middle - box.height / 2)
        y = box.y + box.height + gap
    return y - gap


def mean(values: Sequence[float]) -> float:
    """Return the mean, 0 of nothing."""
    return sum(values) / len(values) if values else 0.0
