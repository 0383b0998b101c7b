# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuzz the native library under sanitizers: ``python files/mpquic/tests/native/fuzz --help``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from harness import TARGETS, compile_target, fuzz


def main() -> int:
    """Return 0 when nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python files/mpquic/tests/native/fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--limit", type=int, default=60, help="seconds for each (default: %(default)s)")
    parser.add_argument("--grow", action="store_true", help="keep what reaches something new in the corpus")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.target if name not in TARGETS]
    if unknown:
        parser.error(f"target: found {unknown[0]}, expected one of {', '.join(TARGETS)}")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.target or TARGETS:
            binary = compile_target(name, Path(folder), fuzzer=True)
            outcome = fuzz(binary, name, arguments.limit, grow=arguments.grow)
            sys.stdout.write(
                f"{name}: {outcome.runs} inputs in {arguments.limit} s, {outcome.finding or 'no finding'}\n"
            )
            sys.stdout.flush()
            failed += bool(outcome.finding)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
