# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic keeper``: what mpquic-keeper.socket starts when a daemon asks for the MTU of its TUN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--user", required=True, help="user that may ask, beside root, each for the TUNs it owns")


def run(args: argparse.Namespace) -> int:
    """Answer until nobody asks any more."""
    return _host.guarded(_keep, args)


def _keep(args: argparse.Namespace) -> int:
    from mpquic.daemon import logs  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host import keeper  # noqa: PLC0415

    logs.set_up("info")
    user = keeper.user_id(args.user)
    keeper.serve(keeper.inherited(), user)
    return exitcodes.OK
