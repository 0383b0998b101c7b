# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic handover``: put the present release in the place of running instances, one after the other."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes
from mpquic.io.ask_handover import Outcome, hand_over

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
#: Seconds for a restart, and for a look at rules, routes and the TUN's addresses.
_RESTART = 60.0
_FIX = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("instance", metavar="ID|all", help="one instance, or all that run")
    parser.add_argument(
        "--or-restart",
        action="store_true",
        help="restart an instance that cannot be handed over (systemctl restart mpquic@ID)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    _host.add_run_dir_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Hand over; return OK, DEGRADED when an instance had to be or has to be restarted instead, FAILED otherwise.

    An instance whose hand-over failed runs on as it was.
    """
    running = sorted(path.parent.name for path in args.run_dir.glob("*/control.sock"))
    if args.instance != "all" and (args.instance not in running or not _ID.fullmatch(args.instance)):
        print(f"{args.instance}: no such instance runs in {args.run_dir}", file=sys.stderr)
        return exitcodes.FAILED
    chosen = running if args.instance == "all" else [args.instance]
    results = [_one(args.run_dir, name, or_restart=args.or_restart) for name in chosen]
    lines = [f"{item['id']}: {item['result']}" + (f" ({item['reason']})" if item["reason"] else "") for item in results]
    _host.output(args, {"instances": results}, lines or [f"no instance runs in {args.run_dir}"])
    found = {item["result"] for item in results}
    if "failed" in found:
        return exitcodes.FAILED
    return exitcodes.DEGRADED if found - {"done"} else exitcodes.OK


def _one(run_dir: Path, name: str, *, or_restart: bool) -> dict[str, Any]:
    """Return what became of an instance: done, failed, restarted, or needs-restart."""
    try:
        outcome = hand_over(run_dir / name / "control.sock")
    except (OSError, ValueError) as error:
        outcome = Outcome("failed", f"control socket: {getattr(error, 'strerror', None) or error or 'no answer'}")
    result, reason = outcome.state, outcome.reason
    if result == "restart":
        result = "needs-restart"
        if or_restart:
            fault = _restart(name)
            result, reason = ("failed", f"{reason}; {fault}") if fault else ("restarted", reason)
    elif result == "done":
        _fix(name)
    return {"id": name, "result": result, "reason": reason, "version": outcome.version}


def _fix(name: str) -> None:
    """Set what the file of an instance says of addresses and routes, as its unit does after a start."""
    line = ["/usr/local/bin/mpquic", "routing", "fix", name]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(line, stdout=subprocess.DEVNULL, timeout=_FIX, check=False)  # noqa: S603


def _restart(name: str) -> str:
    """Restart an instance by its unit; return what went wrong, "" if nothing did."""
    line = ["/usr/bin/systemctl", "restart", f"mpquic@{name}.service"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=_RESTART, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not restarted: {error}"
    return f"not restarted: {done.stderr.strip()}" if done.returncode else ""
