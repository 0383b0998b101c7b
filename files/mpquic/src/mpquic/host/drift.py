# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at the host for `mpquic.host.watch`: what drifted from the files in /etc, and its repair.

Repaired is what was in order and is no more, by the engine of ``mpquic routing fix``. What a file wants that was only
just written is left to whoever writes it, a play as a rule, until it has been seen in order once or `SETTLED` seconds
have gone by: a play that died half-way.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mpquic.host import firewall, instances, lock, repair, settings, units
from mpquic.host.brake import Brake
from mpquic.host.errors import HostError
from mpquic.host.events import Subject
from mpquic.host.instances import ALL, Selection
from mpquic.host.lifeline import Lifeline
from mpquic.host.routing import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mpquic.host.hold import Hold
    from mpquic.host.instances import Instance
    from mpquic.host.netlink import Kernel
    from mpquic.host.repair import Outcome

#: Seconds.
SETTLED = 120.0
#: Codes of what is wrong with the repair itself.
FAILED = frozenset({"fix_failed", "hold_failed"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not, or was not, as it should be; of a tunnel, or of the host where that is None."""

    tunnel: str | None
    problem: Problem

    @property
    def what(self) -> str:
        """What it is, in one line."""
        return f"{self.problem.code}: {self.problem.message}"


@dataclass(slots=True)
class Look:
    """What one look found and did; `pauses` are repairs that from now on wait so many seconds, being undone again."""

    repaired: list[Finding] = field(default_factory=list)
    remaining: list[Finding] = field(default_factory=list)
    pauses: list[tuple[Finding, float]] = field(default_factory=list)


@dataclass(slots=True)
class Drift:
    """Looks at the host, and repairs it.

    `hold` is the second guard, None where there can be none; `now` returns seconds of a clock that only goes forward.
    """

    kernel: Kernel
    directory: Path
    hold: Hold | None
    now: Callable[[], float] = time.monotonic
    brake: Brake = field(default_factory=Brake)
    _line: Lifeline = field(default_factory=Lifeline)
    _settled: dict[str, str] = field(default_factory=dict)
    _selection: Selection = field(default=Selection(ALL, (), ()))
    _read: dict[str, tuple[int, int, int]] | None = None

    def look(self, subject: Subject) -> Look:
        """Look at one subject and repair what drifted.

        Raises:
            HostError: the kernel does not let itself be read, or another changer keeps the host's lock.

        """
        found = Look()
        {Subject.TABLE: self._table, Subject.SETTINGS: self._settings, Subject.ROUTING: self._routing}[subject](found)
        return found

    def units(self) -> list[Finding]:
        """Return what is wrong with units, which are said and not repaired: that may be the operator's wish."""
        found = [Finding(None, problem) for problem in units.differing()]
        states = units.states([instance.id for instance in self._selection.known]) or {}
        return found + [Finding(name, problem) for name, unit in states.items() for problem in unit.problems]

    def next_try(self) -> float | None:
        """Return when, on the clock `now`, a repair that pauses may be tried again; None when none does."""
        return self.brake.next(self.now())

    def _table(self, look: Look) -> None:
        problem = firewall.problem()
        if problem is None and firewall.adopted():
            self._take_hold(look)
            return
        finding = Finding(None, problem or firewall.unadopted())
        if not self._may(finding, look):
            return
        try:
            with lock.exclusive():
                if firewall.adopted():
                    firewall.load()
                else:
                    firewall.adopt()
        except HostError as error:
            look.remaining += failure(error).remaining
        else:
            if problem is not None:
                look.repaired.append(finding)
            self._take_hold(look)
        self._count(finding, look)

    def _take_hold(self, look: Look) -> None:
        if self.hold is None:
            return
        try:
            self.hold.take(firewall.chains())
        except HostError as error:
            look.remaining.append(Finding(None, Problem("hold_failed", str(error))))

    def _settings(self, look: Look) -> None:
        for setting in settings.wanted():
            problem = setting.problem
            if problem is None:
                continue
            finding = Finding(None, problem)
            if not self._may(finding, look):
                continue
            try:
                with lock.exclusive():
                    setting.write()
            except HostError as error:
                look.remaining += failure(error).remaining
            else:
                look.repaired.append(finding)
            self._count(finding, look)

    def _routing(self, look: Look) -> None:
        # Most looks find nothing, and those take no lock.
        broken, remaining = self._drifted()
        if broken:
            with lock.exclusive():
                # Whoever held it may have changed the files, and a fix reads the host anew.
                self._select()
                chosen = tuple(instance for instance in self._selection.known if instance in broken)
                outcome = repair.fix(self.kernel, replace(self._selection, target="drift", chosen=chosen), dry=False)
            self._report(outcome, look)
            for instance, problems in broken.items():
                for problem in problems:
                    self._count(Finding(instance.id, problem), look)
        look.remaining += remaining
        self._lifeline(look)

    def _lifeline(self, look: Look) -> None:
        """After the rules of the LANs: the main table leads to the WANs."""
        state = self.kernel.read_rules()
        for rule, problem in self._line.needed(state):
            finding = Finding(None, problem)
            if self._may(finding, look):
                with lock.exclusive():
                    self.kernel.add_rule(rule)
                look.repaired.append(finding)
                self._count(finding, look)
        for rule in self._line.spent(state):
            with lock.exclusive():
                self.kernel.delete_rule(rule)

    def _report(self, outcome: Outcome, look: Look) -> None:
        for report in outcome.reports:
            look.repaired += [Finding(report.instance.id, problem) for problem in report.repaired]
            look.remaining += [Finding(report.instance.id, problem) for problem in report.problems]

    def _drifted(self) -> tuple[dict[Instance, list[Problem]], list[Finding]]:
        """Return the instances to repair now, and what is wrong with the others."""
        remaining: list[Finding] = []
        try:
            self._select()
        except HostError as error:
            # What was right before one of the files broke is still looked after.
            remaining.append(Finding(None, Problem("config_wrong", str(error).splitlines()[0])))
        broken: dict[Instance, list[Problem]] = {}
        for report in repair.check(self.kernel.read(), self._selection).reports:
            instance, problems = report.instance, report.problems
            if not problems:
                self._settled[instance.id] = instance.digest
            elif self._settled.get(instance.id) == instance.digest and self._some_may(instance, problems):
                broken[instance] = problems
            else:
                remaining += [Finding(instance.id, problem) for problem in problems]
        return broken, remaining

    def _some_may(self, instance: Instance, problems: list[Problem]) -> bool:
        ours = (problem for problem in problems if problem.code in repair.REPAIRABLE)
        return any(self.brake.allows(Finding(instance.id, problem), self.now()) for problem in ours)

    def _select(self) -> None:
        """Read the instance files again if they are others than before."""
        found: dict[str, tuple[int, int, int]] = {}
        ages: dict[str, float] = {}
        for path in self.directory.glob("*.yaml"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found[path.stem] = (status.st_ino, status.st_size, status.st_mtime_ns)
                ages[path.stem] = time.time() - status.st_mtime
        if found != self._read:
            self._selection = instances.select(self.directory, ALL)
            self._read = found
        for instance in self._selection.known:
            if ages.get(instance.id, 0.0) > SETTLED:
                self._settled[instance.id] = instance.digest

    def _may(self, finding: Finding, look: Look) -> bool:
        allowed = self.brake.allows(finding, self.now())
        if not allowed:
            look.remaining.append(finding)
        return allowed

    def _count(self, finding: Finding, look: Look) -> None:
        pause = self.brake.repaired(finding, self.now())
        if pause is not None:
            look.pauses.append((finding, pause))


def failure(error: HostError) -> Look:
    """Return the look that an error made impossible."""
    return Look(remaining=[Finding(None, Problem("fix_failed", str(error)))])
