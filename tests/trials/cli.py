# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the trials."""

from __future__ import annotations

import argparse
import json
import re
import signal
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.bench import machine
from tests.bench.arguments import positive
from tests.bench.errors import BenchError
from tests.trials import blackhole, calm, faults, sharing
from tests.trials.net import remove_stale
from tests.trials.outcome import Outcome, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

OUTPUT = Path("build/trials/trials.json")
Planned = tuple[str, bool, "Callable[[Path], Outcome | list[Outcome]]"]
#: Trials that leave the machine nearly idle take place side by side.
_BESIDE = 3


def plan(trials: int) -> Iterator[Planned]:
    """Yield name, whether it may take place beside others, and what to do, for every trial there is."""
    for loaded in (False, True):
        for rtt in (1.0, 50.0):
            for ways in ("up", "down", "both"):
                name = f"blackhole-{ways}-{rtt:g}ms-{'loaded' if loaded else 'idle'}"
                yield name, not loaded, partial(blackhole.trial, ways=ways, rtt=rtt, loaded=loaded, trials=trials)
    for fault in faults.FAULTS:
        yield "fault-" + re.sub(r"[^a-z0-9]+", "-", fault), True, partial(faults.trial, name=fault)
    yield "dead-start", True, faults.dead_start
    yield "restarts", True, faults.restarts
    yield "every-path", True, faults.every_path
    yield "copies", True, sharing.copies
    yield "calm-full", False, calm.full
    yield "calm-uneven", True, calm.uneven
    yield "spray", False, sharing.spray
    yield "sixteen", False, faults.sixteen
    yield (
        "weights-3-2-1",
        False,
        partial(sharing.shares, name="weights 3,2,1, equal priority", policy="priority", weights=(3, 2, 1)),
    )
    yield (
        "weights-5-3-2",
        False,
        partial(sharing.shares, name="weights 5,3,2, balanced", policy="balanced", weights=(5, 3, 2)),
    )
    yield "bonding", False, sharing.bonding


def main(argv: Sequence[str]) -> int:
    """Run the trials. Returns 0, 1 when a promise was not kept, 64 for names that are none, 130 when stopped."""
    parser = argparse.ArgumentParser(prog="trials", description="Faults and loads on daemons with several WANs.")
    parser.add_argument("--trials", type=positive, default=20, help="black holes of each kind (default: %(default)s)")
    parser.add_argument("--only", metavar="REGEX", default="", help="trials whose names match, such as blackhole|dead")
    parser.add_argument("--list", action="store_true", help="print the names, and end")
    parser.add_argument("--json", type=Path, metavar="FILE", default=OUTPUT, help="(default: %(default)s)")
    args = parser.parse_args(argv)
    chosen = [item for item in plan(args.trials) if re.search(args.only, item[0])]
    if args.list or not chosen:
        print("\n".join(name for name, _beside, _do in (chosen or plan(1))))
        return 0 if chosen else 64
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    machine.expect_usable()
    remove_stale()
    begin = time.monotonic()
    try:
        found = _all(chosen)
    except KeyboardInterrupt:
        machine.say("stopped")
        return 130
    print(text(found))
    about = machine.describe() | {"trials": args.trials, "seconds": round(time.monotonic() - begin)}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"about": about, "outcomes": [asdict(one) for one in found]}, indent=1) + "\n")
    missed = sum(bool(one.missed) for one in found)
    print(f"{len(found)} outcomes, {missed} with promises not kept, {about['seconds']} s; written: {args.json}")
    return int(bool(missed))


def _all(chosen: Sequence[Planned]) -> list[Outcome]:
    found: list[Outcome] = []
    with ThreadPoolExecutor(_BESIDE) as pool:
        try:
            for some in pool.map(lambda item: _one(item[0], item[2]), [item for item in chosen if item[1]]):
                found += some
        except KeyboardInterrupt:
            # Those that run come to their end, and remove what they made.
            pool.shutdown(cancel_futures=True)
            raise
    for name, beside, do in chosen:
        if not beside:
            found += _one(name, do)
    return found


def _one(name: str, do: Callable[[Path], Outcome | list[Outcome]]) -> list[Outcome]:
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mpquic-trial-") as folder:
        try:
            found = do(Path(folder))
        except (BenchError, OSError) as error:
            found = Outcome(name, missed=[str(error)])
        except Exception:  # noqa: BLE001 - one trial's fault must not hide what the others found
            found = Outcome(name, missed=[traceback.format_exc()])
    several = found if isinstance(found, list) else [found]
    machine.say(f"{name}: {time.monotonic() - begin:.0f} s\n{text(several)}")
    return several


def _stop(*_args: object) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
