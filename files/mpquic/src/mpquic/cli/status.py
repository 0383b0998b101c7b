# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic status``: ask every instance how it is."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, _overview, _table, exitcodes
from mpquic.host import overview, watch
from mpquic.host.history import names as resolvers
from mpquic.host.history import usage

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("instance", nargs="?", default="all", metavar="ID|all", help="one instance, or all (default)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    _host.add_instances_argument(parser)
    _host.add_run_dir_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the status; return OK, or FAILED when the instance asked for is neither configured nor running."""
    names = overview.names(args.run_dir, Path(args.instances))
    if args.instance != "all":
        if args.instance not in names:
            print(f"{args.instance}: no such instance in {args.instances} or {args.run_dir}", file=sys.stderr)
            return exitcodes.FAILED
        names = [args.instance]
    instances = [overview.read(args.run_dir, name) for name in names]
    wans = usage.told(args.run_dir / usage.FILE.name)
    notices = watch.notices(args.run_dir / watch.FILE.name)
    if (fault := resolvers.told(args.run_dir / resolvers.FILE.name)) is not None:
        notices.insert(0, {"at": None, "tunnel": None, "code": resolvers.CODE, "message": fault})
    if args.json:
        print(json.dumps({"instances": instances, "wans": wans, "host": notices}))
    elif instances:
        _table.show(_overview.HEAD, list(_overview.rows(instances)))
        if args.instance != "all":
            print()
            for name, text in _overview.details(instances[0]):
                print(f"{name.ljust(12)}  {text}")
        else:
            print(f"\n{overview.summary(instances)}")
    else:
        print(f"no instance (nothing in {args.instances} or {args.run_dir})")
    if wans and not args.json:
        print("\n" + "\n".join(f"wan {usage.line(found)}" for found in wans))
    if notices and not args.json:
        print("\n" + "\n".join(map(_notice, notices)))
    return exitcodes.OK


def _notice(found: dict[str, Any]) -> str:
    """Return what is or was wrong with the host as a line for people."""
    name = f"tunnel {found['tunnel']}" if found["tunnel"] else "host"
    done = f"repaired {_table.duration(time.time() - found['at'])} ago: " if found["at"] is not None else ""
    return f"{name}: {done}{found['code']}: {found['message']}"
