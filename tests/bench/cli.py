# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.bench import machine, picture, publish, results, soak, table
from tests.bench.arguments import positive, some
from tests.bench.campaign import QUOTED, TESTS, Campaign, Plan
from tests.bench.errors import BenchError
from tests.bench.floors import judge
from tests.bench.machine import say
from tests.bench.peers import PEERS
from tests.bench.wires import WIRES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OUTPUT = Path("build/bench")
_QUICK = Plan(rounds=3, seconds=3, wires=(QUOTED,), peers=("mpquic", "wireguard-go", "openvpn"), tests=("tcp", "rtcp"))
_FULL = Plan(rounds=5, seconds=4, wires=tuple(WIRES), peers=tuple(PEERS), tests=TESTS)


def main(argv: Sequence[str]) -> int:
    """Run what is asked for. Returns 0, 1 for a promise not kept, 64 for a wrong command line, 130 when stopped."""
    args = _parser().parse_args(argv)
    args.command = " ".join(["python tests/bench", *_without_output(argv)])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        code: int = args.run(args)
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"bench: {error.filename or 'system'}: {error.strerror}", file=sys.stderr)
        return 1
    except (BenchError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return code


def _without_output(argv: Sequence[str]) -> Iterator[str]:
    """Yield the command line without the place of its output, which says nothing about the figures."""
    words = iter(argv)
    for word in words:
        if word == "--output":
            next(words, None)
        elif not word.startswith("--output="):
            yield word


def _stop(*_args: object) -> NoReturn:
    """End, and let nothing cut the tidying up short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    """Ends with EX_USAGE for a wrong command line, as mpquic does."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong."""
        self.exit(64, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="bench", description="Compare mpquic with other tunnels, taking turns in one run.")
    parser.set_defaults(run=_run)
    add = parser.add_argument
    add("--quick", action="store_true", help="W2, TCP both ways, three peers, 3 rounds: about 90 s")
    add("--rounds", type=positive, help=f"(default: {_FULL.rounds})")
    add("--seconds", type=positive, help=f"of each measurement (default: {_FULL.seconds})")
    for name, known, text in (("wires", WIRES, "wires"), ("peers", PEERS, "tunnels"), ("tests", TESTS, "tests")):
        add(f"--{name}", type=some(known), metavar="A,B", help=f"{text} among {','.join(known)} (default: all)")
    add(
        "--output", type=Path, default=OUTPUT, metavar="DIR", help="for the JSON and the picture (default: %(default)s)"
    )
    modes = parser.add_subparsers(metavar="soak|report")
    long = modes.add_parser("soak", help="one tunnel at a steady rate for a long time: memory, errors, key updates")
    soak.configure(long)
    report = modes.add_parser("report", help="print the tables of a run as Markdown")
    publish.configure(report, OUTPUT / "bench.json")
    return parser


def _run(args: argparse.Namespace) -> int:
    base = _QUICK if args.quick else _FULL
    plan = Plan(
        rounds=args.rounds or base.rounds,
        seconds=args.seconds or base.seconds,
        wires=args.wires or base.wires,
        peers=args.peers or base.peers,
        tests=args.tests or base.tests,
    )
    machine.expect_usable()
    found = results.Results(machine.describe() | asdict(plan) | {"command": args.command, "versions": {}})
    Campaign(plan, found, say).run()
    verdicts = judge(found)
    print(f"\n{table.text(found, verdicts)}\n")
    results.save(found, args.output / "bench.json")
    picture.save(found, args.output / "bench.svg")
    print(f"written: {args.output / 'bench.json'}, {args.output / 'bench.svg'}")
    missed = sum(verdict.status == "FAIL" for verdict in verdicts)
    if missed:
        say(f"{missed} of {len(verdicts)} promises not kept")
    return int(bool(missed))
