# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic identity ensure``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mpquic.host.identity import Identity


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    ensure = actions.add_parser("ensure", help="make the key and certificate if missing, and show the fingerprint")
    ensure.add_argument("--dir", default="/etc/mpquic/identity", help="key.pem and cert.pem (default: %(default)s)")
    ensure.add_argument("--owner", default="mpquic", help="user that reads them (default: %(default)s)")
    _host.add_output_arguments(ensure)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _host.guarded(_ensure, args)


def _ensure(args: argparse.Namespace) -> int:
    from mpquic.host import identity  # noqa: PLC0415 - quick start of the other commands

    found = identity.ensure(Path(args.dir), args.owner, dry=args.check)
    result = {"changed": bool(found.actions), "fingerprint": found.fingerprint, "actions": list(found.actions)}
    _host.output(args, result, _text(args, found))
    return exitcodes.DEGRADED if args.check and found.actions else exitcodes.OK


def _text(args: argparse.Namespace, found: Identity) -> Iterator[str]:
    word = "[PLAN]" if args.check else "[DONE]"
    for action in found.actions:
        yield f"{word} {action}"
    if found.fingerprint:
        yield f"fingerprint: {found.fingerprint}"
