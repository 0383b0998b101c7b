# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic mark``: what the last play that succeeded left, and whether the host still is like that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes
from mpquic.io.answer import read_status

if TYPE_CHECKING:
    import argparse

_IDENTITY = Path("/etc/mpquic/identity")
_OWNER = "mpquic"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="say what the mark is, and what is not as it was then")
    leave = actions.add_parser("set", help="leave a mark")
    leave.add_argument("--plan", required=True, metavar="DIGEST", help="digest of what the play wanted of this host")
    leave.add_argument("--pins", default="{}", metavar="JSON", help="keys of its peers: lists by name")
    for action in (check, leave):
        _host.add_instances_argument(action)
        _host.add_run_dir_argument(action)
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _host.guarded(_set if args.action == "set" else _check, args)


def _set(args: argparse.Namespace) -> int:
    from mpquic.host import lock, mark  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.errors import UsageError  # noqa: PLC0415

    pins = _pins(args.pins)
    if pins is None:
        raise UsageError(f"mark set: --pins: found {args.pins[:80]}, expected lists of keys by name in JSON")

    with lock.exclusive():
        before = mark.read()
        wanted = mark.Mark(args.plan, pins, mark.files())
        if wanted != before:
            mark.write(wanted)
    changed = wanted != before
    _host.output(args, {"changed": changed}, ["[DONE] marked" if changed else "[OK]   marked already"])
    return exitcodes.OK


def _check(args: argparse.Namespace) -> int:
    from mpquic.host import identity, instances, mark  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.netlink import Kernel  # noqa: PLC0415

    selection = instances.select(Path(args.instances), instances.ALL)
    told = {instance.id: _ask(args.run_dir, instance.id) for instance in selection.known}
    with Kernel() as kernel:
        found = list(mark.faults(kernel, selection, told.get))
    own = identity.ensure(_IDENTITY, _OWNER, dry=True)
    # What the play would repair of its own key.
    found += own.actions
    shown = [answer.get("identity") for answer in told.values() if answer is not None]
    if any(key != own.fingerprint for key in shown):
        found.append("an instance shows another key than the host has")
    last = mark.read()
    found += mark.differences(last, mark.files()) if last is not None else ["there is no mark"]
    keys = [key for key in (own.fingerprint, own.next_fingerprint, *shown) if key]
    result: dict[str, Any] = {
        "plan": last.plan if last is not None else None,
        "pins": last.pins if last is not None else None,
        "own": list(dict.fromkeys(keys)),
        "faults": found,
    }
    _host.output(args, result, [f"[FAIL] {fault}" for fault in found] or ["[OK]   as the last play left it"])
    return exitcodes.DEGRADED if found else exitcodes.OK


def _pins(text: str) -> dict[str, list[str]] | None:
    """Return keys by name, None when the text is nothing of that kind."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or not all(isinstance(keys, list) for keys in found.values()):
        return None
    return {name: sorted(map(str, keys)) for name, keys in found.items()}


def _ask(run_dir: Path, instance_id: str) -> dict[str, Any] | None:
    try:
        return read_status(run_dir / instance_id / "control.sock", instance_id)
    except (OSError, ValueError):
        return None
