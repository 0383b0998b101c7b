# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``mpquic`` command: one module per subcommand.

A subcommand module has ``HELP``, ``configure(parser)`` and ``run(args) -> int``. Modules are imported when their
subcommand is called, so that ``mpquic tun ensure`` in a unit's ExecStartPre does not pay for the QUIC stack.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING, NoReturn

from mpquic import __version__
from mpquic.cli import exitcodes

if TYPE_CHECKING:
    from collections.abc import Sequence

SUBCOMMANDS = {
    "run": "carry packets for one instance",
    "check-config": "validate instance files",
    "handover": "put the present release in the place of running instances, their traffic kept",
    "status": "show what the running instances do",
    "history": "show what this host has recorded: figures by tunnel and path, and events",
    "recorder": "record figures and events (started by mpquic-recorder.service)",
    "tun": "create, change or remove a TUN device",
    "routing": "check or fix rules and routes from the LAN into the tunnels",
    "watch": "repair what tunnels need of the host as soon as it changes (started by mpquic-watch.service)",
    "shaper": "check or fix the shaper of the WANs",
    "top": "show what the running instances do, live",
    "doctor": "run every check there is, and say what is wrong, why it matters and what mends it",
    "health": "check or fix tunnels, end to end",
    "guard": "go back to the present state unless somebody confirms what a play changed",
    "explain": "say which way a packet takes, and whether that is as planned",
    "exporter": "offer what the instances count to Prometheus",
    "page": "show what the running instances do in a browser",
    "identity": "make, change and show this host's key",
    "mark": "say whether the host is as the last successful play left it",
    "keeper": "set the MTU of TUN devices for the daemons (started by mpquic-keeper.socket)",
}


class _Parser(argparse.ArgumentParser):
    """A parser whose usage errors exit with EX_USAGE, because 2 means degraded here."""

    def error(self, message: str) -> NoReturn:
        self.exit(exitcodes.USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser(*chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command line, which knows the arguments of the chosen subcommands."""
    found = _Parser(prog="mpquic", description="IP over QUIC tunnels bound to chosen WANs.")
    found.add_argument("--version", action="version", version=f"mpquic {__version__}")
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, text in SUBCOMMANDS.items():
        subparser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name in chosen:
            module = importlib.import_module(f"mpquic.cli.{name.replace('-', '_')}")
            module.configure(subparser)
            subparser.set_defaults(run=module.run)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser(next((word for word in arguments if not word.startswith("-")), None)).parse_args(arguments)
    result = args.run(args)
    assert isinstance(result, int)
    return result
