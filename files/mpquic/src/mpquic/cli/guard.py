# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic guard arm|extend|confirm|restore|status``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mpquic.host.guard.switch import Armed


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    arm = actions.add_parser("arm", help="remember the host as it is, and go back to it unless somebody confirms")
    arm.add_argument("--seconds", type=int, required=True, metavar="N", help="how long to wait (5 to 86400)")
    extend = actions.add_parser("extend", help="begin the time anew, for a change that is still at work")
    extend.add_argument("--token", required=True, metavar="T", help="what arm printed")
    extend.add_argument("--seconds", type=int, required=True, metavar="N", help="how long to wait from now on")
    confirm = actions.add_parser("confirm", help="keep the host as it is now")
    confirm.add_argument("--token", required=True, metavar="T", help="what arm printed")
    restore = actions.add_parser("restore", help="go back now")
    restore.add_argument("--due", action="store_true", help="only if the time is over (for mpquic-guard.service)")
    status = actions.add_parser("status", help="show whether it is armed, and what the last restore undid")
    for action in (arm, extend, confirm, restore, status):
        action.add_argument("--json", action="store_true", help="print one JSON object")
        _host.add_run_dir_argument(action)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _host.guarded(_ACTIONS[args.action], args)


def _arm(args: argparse.Namespace) -> int:
    from mpquic.host.guard import switch  # noqa: PLC0415 - quick start of the other commands

    armed = switch.arm(args.seconds)
    _host.output(args, *_waiting(armed))
    return exitcodes.OK


def _extend(args: argparse.Namespace) -> int:
    from mpquic.host.guard import switch  # noqa: PLC0415

    armed = switch.extend(args.token, args.seconds)
    _host.output(args, *_waiting(armed))
    return exitcodes.OK


def _waiting(armed: Armed) -> tuple[dict[str, Any], list[str]]:
    result = {"token": armed.token, "since": armed.since, "seconds": armed.seconds}
    lines = [
        f"[ARMED] back to the state of {armed.since} in {armed.seconds} s unless confirmed",
        f"token={armed.token}",
    ]
    return result, lines


def _confirm(args: argparse.Namespace) -> int:
    from mpquic.host.guard import switch  # noqa: PLC0415

    armed = switch.confirm(args.token)
    _host.output(args, {"confirmed": True, "since": armed.since}, ["[OK]   confirmed, the host stays as it is"])
    return exitcodes.OK


def _restore(args: argparse.Namespace) -> int:
    from mpquic.host.guard import switch  # noqa: PLC0415

    ask = partial(_host.ask, args.run_dir)
    last = switch.expire(ask) if args.due else switch.restore(ask)
    if last is None:
        _host.output(args, {"restored": False}, [])  # every few seconds
        return exitcodes.OK
    _host.output(args, {"restored": True, **_shown(last)}, _last_text(last))
    return exitcodes.DEGRADED if last["failed"] else exitcodes.OK


def _status(args: argparse.Namespace) -> int:
    from mpquic.host.guard import switch  # noqa: PLC0415

    armed, last = switch.current(), switch.latest()
    result: dict[str, Any] = {"armed": None, "last": _shown(last) if last else None}
    if armed is not None:
        result["armed"] = {"since": armed.since, "seconds_left": round(armed.left, 1), "restoring": armed.over}
    _host.output(args, result, _status_text(result))
    return exitcodes.OK


def _shown(last: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in last.items() if key != "token"}


def _status_text(result: dict[str, Any]) -> Iterator[str]:
    armed, last = result["armed"], result["last"]
    if armed is None:
        yield "[OK]   not armed"
    elif armed["restoring"]:
        yield f"[BACK] going back to the state of {armed['since']}"
    else:
        yield f"[ARMED] back to the state of {armed['since']} in {armed['seconds_left']:.0f} s unless confirmed"
    if last is not None:
        yield from _last_text(last)


def _last_text(last: dict[str, Any]) -> Iterator[str]:
    yield f"[BACK] {last['at']}: {last['reason']}; went back to the state of {last['since']}"
    for line in last["undone"] or ["nothing differed"]:
        yield f"[UNDO] {line}"
    for line in last["failed"]:
        yield f"[FAIL] {line}"


_ACTIONS = {"arm": _arm, "extend": _extend, "confirm": _confirm, "restore": _restore, "status": _status}
