# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run found: samples, what failed, what could not be had; and the same as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bench.stats import median

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """The figures of one measurement."""

    round: int
    wire: str
    peer: str
    test: str
    values: dict[str, float]


@dataclass(frozen=True)
class Problem:
    """A measurement that failed."""

    round: int
    wire: str
    peer: str
    test: str
    reason: str


@dataclass
class Results:
    """A whole run."""

    about: dict[str, Any]
    samples: list[Sample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    #: Peers and tests that this machine cannot have, with the reason.
    unavailable: dict[str, str] = field(default_factory=dict)

    def median(self, wire: str, test: str, peer: str, metric: str) -> float | None:
        """Return the median of a figure over all rounds, None when there is none."""
        found = [
            sample.values[metric]
            for sample in self.samples
            if (sample.wire, sample.test, sample.peer) == (wire, test, peer) and metric in sample.values
        ]
        return median(found) if found else None

    def ratio(self, wire: str, test: str, metric: str, peers: tuple[str, str]) -> float | None:
        """Return the median of the first peer divided by that of the second."""
        above, below = (self.median(wire, test, peer, metric) for peer in peers)
        return above / below if above is not None and below else None

    def failure(self, wire: str, test: str, peer: str) -> str | None:
        """Return why a measurement failed in at least one round."""
        for problem in self.problems:
            if (problem.wire, problem.test, problem.peer) == (wire, test, peer):
                return f"round {problem.round}: {problem.reason}"
        return None

    def has(self, wire: str, test: str) -> bool:
        """Tell whether this test was run on this wire."""
        tried: list[Sample | Problem] = [*self.samples, *self.problems]
        return any((item.wire, item.test) == (wire, test) for item in tried)

    def chosen(self, key: str) -> list[str]:
        """Return what the run was asked for: ``peers``, ``wires`` or ``tests``."""
        return list(self.about[key])


def save(results: Results, path: Path, **more: Any) -> None:
    """Write a run as JSON, with ``more`` beside it (read back by nobody here)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(results) | more, indent=1) + "\n")


def load(path: Path) -> Results:
    """Read what ``save`` wrote. Raises OSError, or ValueError when it is something else."""
    try:
        raw = json.loads(path.read_text())
        return Results(
            raw["about"],
            [Sample(**item) for item in raw["samples"]],
            [Problem(**item) for item in raw["problems"]],
            raw["unavailable"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the result of a benchmark") from error
