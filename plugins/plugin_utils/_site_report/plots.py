# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Series as small pictures: where lines and bars go, in the units of the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report.past import Series, Step

WIDTH, HEIGHT = 360, 118
LEFT, RIGHT, TOP, BOTTOM = 6, 354, 18, 88
#: Of the bar below, which shows when it was not well.
BAR, THICK = 92, 5
DAY = 86400.0
_TICKS = 6 * 3600


@dataclass(frozen=True)
class Line:
    """A line: its name, its kind for the style sheet, and the pieces between gaps, as points of SVG."""

    name: str
    kind: str
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Bar:
    """A time that was not well."""

    x: float
    width: float
    tone: str


@dataclass(frozen=True)
class Plot:
    """One picture. ``most`` is what its top is, in words; ``said`` tells those who do not see it."""

    title: str
    most: str
    said: str
    lines: tuple[Line, ...]
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]


def of(series: Series, until: float) -> list[Plot]:
    """Return throughput and, where there is any, the round trip of the day before ``until`` (Unix seconds)."""
    steps = [step for step in series.steps if until - DAY - series.step <= step.at <= until]
    draw = _Drawing(series.title, series.step, steps, until)
    found = [draw.plot("throughput", [("to VPS", "up", _up), ("from VPS", "down", _down)], words.rate, 1000.0)]
    if any(step.rtt is not None for step in steps):
        found.append(draw.plot("round trip", [("worst", "worst", _worst), ("mean", "mean", _rtt)], _ms, 1.0))
    return found


@dataclass(frozen=True)
class _Drawing:
    title: str
    step: float
    steps: Sequence[Step]
    until: float

    def plot(
        self,
        what: str,
        wanted: Sequence[tuple[str, str, Callable[[Step], float | None]]],
        say: Callable[[float], str],
        least: float,
    ) -> Plot:
        read = [(name, kind, [(step.at, value(step)) for step in self.steps]) for name, kind, value in wanted]
        told = [entry for entry in read if any(value is not None for _at, value in entry[2])]
        peak = max((value for entry in told for _at, value in entry[2] if value is not None), default=0.0)
        top = _round_up(max(peak, least))
        lines = tuple(Line(name, kind, tuple(self._pieces(points, top))) for name, kind, points in told)
        said = f"{self.title}: {what} of 24 hours, at most {say(peak)}" if self.steps else f"{self.title}: no figures"
        return Plot(f"{self.title}: {what}", say(top), said, lines, tuple(self._bars()), tuple(self._ticks()))

    def _x(self, at: float) -> float:
        return LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, 1 - (self.until - at) / DAY))

    def _pieces(self, points: Sequence[tuple[float, float | None]], top: float) -> Iterator[str]:
        """Yield the line; it is broken where nothing was recorded."""
        piece: list[str] = []
        before = -math.inf
        for at, value in points:
            if piece and (value is None or at - before > 1.5 * self.step):
                yield " ".join(piece)
                piece = []
            if value is not None:
                y = BOTTOM - (BOTTOM - TOP) * min(1.0, max(0.0, value / top))
                # The figures of a step, from its begin to its end.
                piece += [f"{self._x(at):.1f},{y:.1f}", f"{self._x(at + self.step):.1f},{y:.1f}"]
            before = at
        if piece:
            yield " ".join(piece)

    def _bars(self) -> Iterator[Bar]:
        for step in self.steps:
            if step.doubt > 0 or step.away > 0:
                x = self._x(step.at)
                yield Bar(x, max(1.5, self._x(step.at + self.step) - x), "bad" if step.away > 0 else "doubt")

    def _ticks(self) -> Iterator[tuple[float, str]]:
        at = math.ceil((self.until - DAY) / _TICKS) * _TICKS
        while at <= self.until:
            yield self._x(at), words.clock(at)
            at += _TICKS


def _up(step: Step) -> float | None:
    return step.up


def _down(step: Step) -> float | None:
    return step.down


def _rtt(step: Step) -> float | None:
    return step.rtt


def _worst(step: Step) -> float | None:
    return step.rtt_worst


def _ms(value: float) -> str:
    return words.milliseconds(value)


def _round_up(value: float) -> float:
    """Return the next number of the kind 1, 2, 5, 10."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * 1.0000001)
