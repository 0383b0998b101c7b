# SPDX-License-Identifier: GPL-3.0-or-later
"""Check and fix the shapers of all interfaces. A failure at one of them does not stop the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpquic.host.errors import HostError
from mpquic.host.routing import Problem
from mpquic.host.shaper import plan, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.host.shaper.document import Link
    from mpquic.host.shaper.netlink import TcKernel
    from mpquic.host.shaper.plan import Place, Step
    from mpquic.host.shaper.state import TcState


@dataclass(slots=True)
class Report:
    """What was found and done at one place; `problems` are those that remain, `repaired` those that are gone."""

    place: Place
    problems: list[Problem]
    steps: list[Step]
    before: dict[str, str] | None
    after: dict[str, str] | None
    repaired: list[Problem] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was changed, or would be."""
        return self.before != self.after


def check(state: TcState, links: Sequence[Link]) -> list[Report]:
    """Compare the host with the links."""
    reports = _reports(state, links)
    for report in reports:
        report.after = report.before
    return reports


def fix(kernel: TcKernel, links: Sequence[Link], *, dry: bool) -> list[Report]:
    """Bring the host to what the links want; with `dry` only say what would be done."""
    reports = _reports(kernel.read(), links)
    if dry:
        for report in reports:
            report.actions = [step.text for step in report.steps]
        return reports
    failures = [_apply(kernel, report) for report in reports]
    if any(report.steps for report in reports):
        state = kernel.read()
        for report, failed in zip(reports, failures, strict=True):
            _conclude(report, failed, state)
    return reports


def _reports(state: TcState, links: Sequence[Link]) -> list[Report]:
    return [_report(place, state) for place in plan.places(links, state)]


def _report(place: Place, state: TcState) -> Report:
    """Compare one place; ``after`` is what its steps lead to."""
    wanted = plan.tree(place.links, plan.queue_kind(place, state))
    steps = plan.steps(place, wanted)
    found = place.interface.tree if place.interface else None
    problems = [*place.problems, *(step.problem for step in steps if step.problem)]
    before = text.view(found, place.links)
    return Report(place, problems, steps, before, text.view(wanted, place.links) if steps else before)


def _apply(kernel: TcKernel, report: Report) -> list[Problem]:
    for step in report.steps:
        try:
            step.do(kernel)
        except (HostError, OSError) as error:
            return [Problem("fix_failed", f"{step.text}: {error}")]
        report.actions.append(step.text)
    return []


def _conclude(report: Report, failed: list[Problem], state: TcState) -> None:
    """Read again what remains wrong: a fix that changed nothing must not be reported as one that did."""
    place = plan.again(report.place, state)
    found = _report(place, state)
    report.after = found.before
    report.repaired = [problem for problem in report.problems if problem not in found.problems]
    report.problems = found.problems + failed
