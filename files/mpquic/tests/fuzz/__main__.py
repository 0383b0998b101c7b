# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuzz every decoder, or some of them: ``python files/mpquic/tests/fuzz --help``."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import traceback
from pathlib import Path

from fuzzing import corpus
from fuzzing.decoders import DECODERS
from fuzzing.run import MAX_RESIDENT, FoundError, Report, replay, run

_HERE = "files/mpquic/tests/fuzz"
_LINE = "{:<16}{:>9}{:>9}{:>10}{:>10}{:>9}{:>12}{:>12}  {}"


def main() -> int:
    """Return 0 when nothing was found, 1 otherwise."""
    arguments = _arguments()
    if arguments.input is not None:
        return _replay(arguments.decoder[0], arguments.input)
    _say(f"seed {arguments.seed}, {arguments.count} inputs per decoder")
    _say(_LINE.format("decoder", "inputs", "seconds", "accepted", "refused", "slowest", "growth", "growth", ""))
    _say(_LINE.format("", "", "", "", "", "ms", "blocks", "kB", ""))
    tasks = [(name, arguments.count, arguments.seed) for name in arguments.decoder or DECODERS]
    # A process for each: the memory of one is not that of another.
    with multiprocessing.get_context("fork").Pool(arguments.jobs, maxtasksperchild=1) as pool:
        return max([_tell(found, *task) for found, task in pool.imap_unordered(_one, tasks, chunksize=1)], default=0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python {_HERE}", description="Feed random and mutated inputs to decoders.")
    parser.add_argument("decoder", nargs="*", help=f"one or more of {', '.join(DECODERS)}; all by default")
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs per decoder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what the inputs are drawn from (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="decoders at a time (default: %(default)s)")
    parser.add_argument("--input", type=Path, help="feed this file to the decoder instead")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.decoder if name not in DECODERS]
    if unknown:
        parser.error(f"decoder: found {unknown[0]}, expected one of {', '.join(DECODERS)}")
    if arguments.input is not None and len(arguments.decoder) != 1:
        parser.error("--input: expected one decoder")
    if arguments.count < 1 or arguments.jobs < 1:
        parser.error("--count, --jobs: expected 1 or more")
    return arguments


def _one(task: tuple[str, int, int]) -> tuple[Report | str, tuple[str, int, int]]:
    name, count, seed = task
    try:
        return run(DECODERS[name], count, seed), task
    except FoundError as error:
        path = corpus.keep(name, error.items, f"{type(error.error).__name__} with seed {seed}")
        details = "".join(traceback.format_exception(error.error))
        return (
            f"{error}\n{details}"
            f"kept as {path}\n"
            f"alone:    python {_HERE} {name} --input {path}\n"
            f"in place: make fuzz COUNT={count} SEED={seed} DECODER={name}\n"
        ), task


def _tell(found: Report | str, name: str, count: int, seed: int) -> int:
    if isinstance(found, str):
        _say(f"{name}: FAILED\n{found}")
        return 1
    notes = ", ".join(f"{note}: {number}" for note, number in sorted(found.notes.items()))
    _say(
        _LINE.format(
            found.name,
            found.inputs,
            f"{found.seconds:.1f}",
            found.accepted,
            found.refused,
            f"{1000 * found.slowest:.1f}",
            found.blocks,
            found.resident // 1024,
            notes,
        ).rstrip()
    )
    if found.grew:
        _say(f"{name}: GREW: more than {found.max_blocks} blocks or {MAX_RESIDENT // 1024} kB; seed {seed}")
    return int(found.grew)


def _replay(name: str, path: Path) -> int:
    try:
        accepted = replay(DECODERS[name], corpus.read(path))
    except FoundError as error:
        _say("".join(traceback.format_exception(error.error)))
        return 1
    _say("accepted" if accepted else "refused")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
