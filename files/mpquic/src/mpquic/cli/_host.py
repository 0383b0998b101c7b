# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host commands share: output, and errors turned into one line and an exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import exitcodes
from mpquic.cli._table import colourful

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

INSTANCES = "/etc/mpquic/instances"
HISTORY = Path("/var/lib/mpquic/history.db")
#: Of the words that lines begin with.
_COLOURS = {
    "FAIL": "1;31",
    "WARN": "33",
    "NOTE": "36",
    "OK": "32",
    "DONE": "32",
    "FIX": "32",
    "PLAN": "36",
    "WAIT": "33",
}


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--check`` and ``--json``."""
    parser.add_argument(
        "--check", action="store_true", help="plan only: change nothing, exit 2 if something would change"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_instances_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--instances``."""
    parser.add_argument("--instances", default=INSTANCES, metavar="DIR", help="instance files (default: %(default)s)")


def add_run_dir_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--run-dir``."""
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=Path("/run/mpquic"),
        metavar="DIR",
        help="control sockets (default: %(default)s)",
    )


def add_history_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--history``."""
    parser.add_argument(
        "--history", type=Path, default=HISTORY, metavar="FILE", help="the recorded history (default: %(default)s)"
    )


def ask(run_dir: Path, instance_id: str) -> dict[str, Any] | None:
    """Return what the daemon of an instance says of itself, None when it does not answer."""
    from mpquic.io.answer import read_status  # noqa: PLC0415 - quick start

    try:
        return read_status(run_dir / instance_id / "control.sock", instance_id)
    except (OSError, ValueError):
        return None


def output(args: argparse.Namespace, result: dict[str, Any], lines: Iterable[str]) -> None:
    """Print a result for a program or for a person."""
    if args.json:
        print(json.dumps(result, sort_keys=True))
    else:
        for line in lines:
            print(_painted(line) if colourful() else line)


def _painted(line: str) -> str:
    """Return a line for a terminal: its first word in the colour of what it says (ECMA-48 SGR)."""
    word, bracket, rest = line.partition("]")
    colour = _COLOURS.get(word.removeprefix("["))
    return f"\x1b[{colour}m{word}{bracket}\x1b[0m{rest}" if bracket and colour else line


def guarded(action: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run an action; an expected error becomes one line on stderr and its exit code."""
    from mpquic.host.errors import ConfigError, HostError, UsageError  # noqa: PLC0415 - quick start

    try:
        return action(args)
    except UsageError as error:
        code = exitcodes.USAGE
        text = str(error)
    except ConfigError as error:
        code = exitcodes.CONFIG
        text = str(error)
    except HostError as error:
        code = exitcodes.FAILED
        text = str(error)
    except OSError as error:
        code = exitcodes.FAILED
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    for line in text.splitlines():
        print(f"mpquic: {line}", file=sys.stderr)
    return code
