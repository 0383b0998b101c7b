# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic top``: the status of all instances, again and again."""

from __future__ import annotations

import contextlib
import select
import sys
import termios
import tty
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.cli import _host, _overview, _table, exitcodes
from mpquic.host import overview

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from rich.console import Group

_SHORTEST = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between looks (default: 1)")
    _host.add_instances_argument(parser)
    _host.add_run_dir_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Show the status until somebody types q or Ctrl-C; return USAGE without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("mpquic top: needs a terminal, mpquic status does not", file=sys.stderr)
        return exitcodes.USAGE
    if args.every < _SHORTEST:
        print(f"mpquic top: --every: expected at least {_SHORTEST} seconds", file=sys.stderr)
        return exitcodes.USAGE
    from rich.console import Console  # noqa: PLC0415 - quick start of the other commands
    from rich.live import Live  # noqa: PLC0415

    with (
        contextlib.suppress(KeyboardInterrupt),
        _keys(),
        Live(console=Console(), screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(_picture(args), refresh=True)
            if select.select([sys.stdin], [], [], args.every)[0] and sys.stdin.read(1) in {"q", "Q", ""}:
                break
    return exitcodes.OK


def _picture(args: argparse.Namespace) -> Group:
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    names = overview.names(args.run_dir, Path(args.instances))
    items = [overview.read(args.run_dir, name) for name in names]
    table = _table.rich_table(_overview.HEAD, list(_overview.rows(items)))
    return Group(table, Text(f"\n{overview.summary(items)}   (q ends)", style=_table.QUIET))


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Read keys one by one, unseen, and put the terminal back afterwards."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
