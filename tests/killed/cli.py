# SPDX-License-Identifier: GPL-3.0-or-later
"""``python tests/killed``: deaths in turn, a table, and exit 1 when a promise was not kept."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.killed import site, trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.killed.trial import Trial

_COLUMNS = "{:>4}  {:<56.56}  {:<13}  {:>9}  {:>7}  {:>6}  {:<6}  {}"
_HEADING = ("task", "killed in", "armed", "reachable", "LANs", "outage", "back", "next run")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="killed", description=__doc__)
    parser.add_argument("--first", type=int, default=1, metavar="N", help="first task to die at (default: %(default)s)")
    parser.add_argument("--last", type=int, default=100_000, metavar="N", help="last task (default: of the play)")
    parser.add_argument("--acting", action="store_true", help="only in tasks that do something, and after each")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every so many tasks (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=600, help="begin no death after this (default: %(default)s)")
    parser.add_argument("--guard", type=int, default=60, help="guard_seconds of the runs (default: %(default)s)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the trials; the lab must be up."""
    args = _parser().parse_args(argv)
    end = time.monotonic() + 60 * args.minutes
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own, other = site.inventories(folder)
        if trial.changes(own) and trial.changes(own):
            print("the site does not converge by itself; look at 'make site' first")
            return 1
        steps: Sequence[int] = range(args.first, args.last + 1)
        if args.acting:
            steps = [step for step in trial.acting(other, own) if step in steps]
            print(f"{len(steps)} tasks")
        print(_COLUMNS.format(*_HEADING), flush=True)
        target = own
        with site.pings(folder) as lans:
            for count, step in enumerate(steps[:: args.every]):
                if time.monotonic() > end:
                    print(f"stopped after {args.minutes:g} minutes, before task {step}")
                    break
                target = own if target == other else other
                found = trial.run(step, target, lans, guard=args.guard, at_once=count % 2 == 0)
                if found is None:
                    print(f"the play has fewer than {step} tasks")
                    break
                bad += not found.good
                print(_line(found), flush=True)
        converged = not trial.changes(target)
        print("a last run changes nothing" if converged else "a last run still changes something")
        if target == other:
            trial.changes(own)
    return 1 if bad or not converged else 0


def _line(found: Trial) -> str:
    line = _COLUMNS.format(
        found.step,
        found.task,
        found.armed or "-",
        f"{found.reachable:.1f} s",
        f"{found.flowing:.1f} s",
        f"{found.outage:.1f} s",
        "yes" if found.went_back else "-",
        "converged" if found.converged else "FAILED",
    )
    return f"{line}\n{found.problem}" if found.problem else line
