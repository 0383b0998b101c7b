# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic tun ensure``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse

    from mpquic.host.tun import Change


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    ensure = actions.add_parser("ensure", help="bring one TUN device to the wanted state")
    ensure.add_argument("--name", required=True, help="interface name")
    ensure.add_argument("--state", choices=("present", "absent"), default="present")
    ensure.add_argument("--cidr", help="own IPv4 address with prefix length; required unless absent")
    ensure.add_argument("--cidr6", help="own IPv6 address with prefix length (default, or nothing: none)")
    ensure.add_argument("--mtu", type=int, help="bytes (default: keep, or 1300 for a new device)")
    ensure.add_argument("--owner", help="user that may attach (default: mpquic where that user exists, else root)")
    _host.add_output_arguments(ensure)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _host.guarded(_ensure, args)


def _ensure(args: argparse.Namespace) -> int:
    from mpquic.host import lock, tun  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.errors import UsageError  # noqa: PLC0415
    from mpquic.host.netlink import Kernel  # noqa: PLC0415

    if args.state == "present" and args.cidr is None:
        raise UsageError("tun ensure: --cidr is required for a present device")
    present = args.state == "present"
    wanted = tun.spec(args.name, args.cidr, args.mtu, args.owner, args.cidr6) if present else None
    with contextlib.nullcontext() if args.check else lock.exclusive(), Kernel() as kernel:
        if wanted is None:
            change = tun.remove(kernel, args.name, dry=args.check)
        else:
            change = tun.ensure(kernel, wanted, dry=args.check)
    _host.output(args, _result(change), _text(args, change))
    return exitcodes.DEGRADED if args.check and change.changed else exitcodes.OK


def _result(change: Change) -> dict[str, object]:
    return {
        "changed": change.changed,
        "before": change.before,
        "after": change.after,
        "actions": [step.text for step in change.steps],
    }


def _text(args: argparse.Namespace, change: Change) -> list[str]:
    if not change.changed:
        return [f"[OK]   {args.name}  {args.state}, nothing to do"]
    word = "[PLAN]" if args.check else "[DONE]"
    return [f"{word} {args.name}  {step.text}" for step in change.steps]
