# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile peers against whole daemons: quick forms by default, full forms with MPQUIC_HOSTILE=full (``make hostile``).

Figures are printed at the end of a full run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from hosts import Hosts
from wan import made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Whether there is time and an otherwise idle machine.
FULL = os.environ.get("MPQUIC_HOSTILE") == "full"
#: Sections of a report that hold figures.
_FIGURES = "hostile figures"


@pytest.fixture
def full() -> bool:
    return FULL


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    """Daemons start slowly: the tests of a module share theirs, and judge what has changed since they began."""
    with made(Hosts()) as world:
        yield world


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Return what notes a figure for the end of the run."""

    def note(name: str, value: object) -> None:
        request.node.user_properties.append((_FIGURES, (name, str(value))))

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not FULL:
        return
    terminalreporter.section("figures")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for kind, value in report.user_properties:
                if kind == _FIGURES and report.when == "call":
                    name = report.nodeid.rpartition("::")[2]
                    terminalreporter.write_line(f"{name}: {value[0]}: {value[1]}")
