# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic watch [status]``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "action", nargs="?", choices=("run", "status"), default="run", help="watch (default), or say what was repaired"
    )
    _host.add_instances_argument(parser)
    parser.add_argument("--json", action="store_true", help="with status: print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _host.guarded(_status if args.action == "status" else _watch, args)


def _watch(args: argparse.Namespace) -> int:
    from mpquic.daemon import logs  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host import firewall  # noqa: PLC0415
    from mpquic.host.drift import Drift  # noqa: PLC0415
    from mpquic.host.errors import HostError  # noqa: PLC0415
    from mpquic.host.events import Events  # noqa: PLC0415
    from mpquic.host.hold import Hold  # noqa: PLC0415
    from mpquic.host.netlink import Kernel  # noqa: PLC0415
    from mpquic.host.watch import FILE, Watch  # noqa: PLC0415
    from mpquic.io.sdnotify import Notifier  # noqa: PLC0415

    if os.geteuid() != 0:
        raise HostError("changing the host needs root")
    logs.set_up("info")
    with Events(firewall.NAME) as events, Kernel() as kernel, Hold() as hold:
        watch = Watch(events, Drift(kernel, Path(args.instances), hold), Notifier().send, FILE)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: watch.stop())
        watch.run()
    return exitcodes.OK


def _status(args: argparse.Namespace) -> int:
    from mpquic.host import watch  # noqa: PLC0415 - quick start of the other commands

    found = watch.told(watch.FILE)
    running = watch.runs(found.get("pid"))
    result = {
        "running": running,
        "repairs": found.get("repairs", []),
        "remaining": found.get("remaining", []) if running else [],
    }
    _host.output(args, result, _text(result))
    return exitcodes.OK if running and not result["remaining"] else exitcodes.DEGRADED


def _text(result: dict[str, Any]) -> Iterator[str]:
    for repair in result["repairs"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(repair["at"]))
        yield f"[DONE] {at}  {_what(repair)}  in {repair['ms']} ms"
    for finding in result["remaining"]:
        yield f"[FAIL] {_what(finding)}"
    running = "yes" if result["running"] else "no"
    yield f"running={running} repaired={len(result['repairs'])} remaining={len(result['remaining'])}"


def _what(entry: dict[str, Any]) -> str:
    return f"{entry['tunnel'] or '-'}  {entry['code']}: {entry['message']}"
