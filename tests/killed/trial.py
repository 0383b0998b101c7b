# SPDX-License-Identifier: GPL-3.0-or-later
"""One death of the controller, and what becomes of the site."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.killed import site
from tests.killed.controller import Controller

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.killed.site import Lan

#: Seconds after the beginning of a task at which the controller dies, so that it dies in it.
_INSIDE = 0.15
#: Seconds that a restore itself may take on a busy machine.
_RESTORE = 40


@dataclass
class Trial:
    """What happened; times are in seconds from the death on, `outage` is the longest of any LAN."""

    step: int
    task: str
    armed: str = ""
    reachable: float = -1
    flowing: float = -1
    outage: float = -1
    went_back: bool = False
    converged: bool = False
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether the promises were kept."""
        return self.reachable >= 0 and self.flowing >= 0 and self.converged


def run(step: int, target: Path, lans: Sequence[Lan], *, guard: int, at_once: bool) -> Trial | None:
    """Kill a run at a task (1 is the first), then run again; None when the play has fewer tasks.

    The second run comes at once, or after the host had its time to go back.
    """
    with Controller(target, "-e", f"guard_seconds={guard}") as controller:
        name = controller.reach(step)
        if name is None:
            return None
        time.sleep(_INSIDE)
        controller.kill()
    trial, death = Trial(step, name), time.time()
    trial.armed = ",".join(host for host in site.HOSTS if _guard(host).get("armed"))
    deadline = death + guard + _RESTORE
    trial.reachable = _until(lambda: all(map(site.reachable, site.HOSTS)), death, deadline)
    trial.flowing = _until(lambda: all(lan.flows() for lan in lans), death, deadline)
    if not at_once and trial.armed:
        _until(lambda: not any(_guard(host).get("armed") for host in site.HOSTS), death, deadline)
        trial.went_back = all(_guard(host).get("armed") is None for host in site.HOSTS)
        trial.flowing = max(trial.flowing, _until(lambda: all(lan.flows() for lan in lans), death, deadline + _RESTORE))
    with Controller(target, "-e", f"guard_seconds={guard}") as again:
        trial.converged = again.wait() == 0
        if not trial.converged:
            trial.problem = again.output.read_text(encoding="utf-8")[-1500:]
    trial.outage = max(lan.outage(death) for lan in lans)
    return trial


def changes(target: Path) -> bool:
    """Whether a run on a site that should be converged changes something, or fails."""
    with Controller(target) as controller:
        failed = controller.wait() != 0
        text = controller.output.read_text(encoding="utf-8")
    return (
        failed
        or "changed=0" not in text
        or any("changed=" in line and "changed=0 " not in line for line in text.splitlines())
    )


def acting(*targets: Path) -> list[int]:
    """Let one run after the other go to its end, and return the tasks to die in where all of them would take too long.

    These are the tasks in which a run did something to a host, and the next task of each: a death in any other leaves
    the site just as a death in the task before it does.
    """
    numbers = set()
    for target in targets:
        with Controller(target) as controller:
            controller.wait()
            numbers |= controller.acting()
    return sorted(numbers | {number + 1 for number in numbers})


def _guard(host: str) -> dict[str, object]:
    try:
        found = json.loads(site.ask(host, "mpquic guard status --json"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _until(condition: Callable[[], bool], begin: float, deadline: float) -> float:
    """Return after how many seconds since `begin` the condition held, -1 when it did not by the deadline."""
    while not condition():
        if time.time() > deadline:
            return -1
        time.sleep(0.1)
    return time.time() - begin
