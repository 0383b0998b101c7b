# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic run``: carry packets for one instance until told to stop."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mpquic.cli import exitcodes
from mpquic.config import ConfigError, load
from mpquic.daemon.main import StartError
from mpquic.daemon.main import run as run_daemon

#: Where the unit's RuntimeDirectory is.
RUN_DIR = Path("/run/mpquic")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="instance file")
    parser.add_argument(
        "--control", type=Path, metavar="PATH", help="control socket (default: /run/mpquic/<name of FILE>/control.sock)"
    )
    # From the process that starts this one (mpquic handover): the descriptor of its channel.
    parser.add_argument("--heir", type=int, metavar="FD", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run the instance; return OK after SIGTERM, CONFIG for a bad file, FAILED when this host is not ready for it."""
    try:
        config, warnings = load(args.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return exitcodes.CONFIG
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    control = args.control or RUN_DIR / config.instance_id / "control.sock"
    try:
        run_daemon(config, args.config, control, args.heir)
    except StartError as error:
        print(f"{args.config}: {error}", file=sys.stderr)
        return exitcodes.FAILED
    return exitcodes.OK
