# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic identity``: this host's key, the one to follow it, and certificates of a CA for them."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mpquic.host.identity import Identity

_ACTIONS = {
    "ensure": "make the key and certificate if missing, and show the fingerprint",
    "stage": "make the key to come (next-key.pem, next-cert.pem) beside the current one, if missing",
    "promote": "put the staged key in the place of the current one, which is removed",
    "abandon": "remove the staged key",
    "request": "print a certificate signing request for a CA",
    "install": "put a certificate of a CA beside the key it is for, the current or the staged one",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    parsers = {name: actions.add_parser(name, help=text, description=text) for name, text in _ACTIONS.items()}
    for name, action in parsers.items():
        action.add_argument("--dir", default="/etc/mpquic/identity", help="key.pem and cert.pem (default: %(default)s)")
        if name != "request":
            action.add_argument("--owner", default="mpquic", help="user that reads them (default: %(default)s)")
        _host.add_output_arguments(action)
    request = parsers["request"]
    request.add_argument("--next", action="store_true", help="for the staged key")
    request.add_argument(
        "--name",
        action="append",
        default=[],
        help="DNS name or IP address to ask for, again for more (default: those of the CA's present certificate, or "
        "the host's name)",
    )
    parsers["promote"].add_argument(
        "--self-signed",
        action="store_true",
        help="also when a CA signed the current certificate but not the staged one: others know this host by its key",
    )
    parsers["install"].add_argument("--cert", required=True, metavar="FILE", help="PEM, the host's certificate first")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _host.guarded(_request if args.action == "request" else _change, args)


def _request(args: argparse.Namespace) -> int:
    from mpquic.host import identity  # noqa: PLC0415 - quick start of the other commands

    found = identity.request(Path(args.dir), args.name, staged=args.next)
    result = {"changed": False, "fingerprint": found.fingerprint, "names": found.names, "request": found.pem}
    _host.output(args, result, found.pem.splitlines())
    return exitcodes.OK


def _change(args: argparse.Namespace) -> int:
    from mpquic.host import identity, lock  # noqa: PLC0415 - quick start of the other commands

    directory, dry = Path(args.dir), args.check
    with contextlib.nullcontext() if dry else lock.exclusive():
        if args.action == "install":
            found = identity.install(directory, args.owner, Path(args.cert), dry=dry)
        elif args.action == "promote":
            found = identity.promote(directory, args.owner, dry=dry, self_signed=args.self_signed)
        else:
            found = getattr(identity, args.action)(directory, args.owner, dry=dry)
    _host.output(args, {"changed": bool(found.actions), **asdict(found)}, _text(args, found))
    return exitcodes.DEGRADED if dry and found.actions else exitcodes.OK


def _text(args: argparse.Namespace, found: Identity) -> Iterator[str]:
    word = "[PLAN]" if args.check else "[DONE]"
    for action in found.actions:
        yield f"{word} {action}"
    if found.fingerprint:
        yield f"fingerprint: {found.fingerprint}"
    if found.next_fingerprint:
        yield f"next fingerprint: {found.next_fingerprint}"
    if found.names is not None:
        yield f"certified by a CA: {', '.join(found.names)}, until {found.expires}"
