# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic check-config``: say whether instance files can be used, each alone and all together."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.cli import exitcodes
from mpquic.config import ConfigError, InstanceConfig, between, load, preflight, remarks

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="instance file, such as /etc/mpquic/instances/4.yaml")
    parser.add_argument("--preflight", action="store_true", help="also check interfaces and addresses of this host")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Check all files, print every fault, and return OK or CONFIG."""
    errors: list[str] = []
    warnings: list[str] = []
    good: list[tuple[str, InstanceConfig]] = []
    for name in args.files:
        try:
            config, found = load(Path(name))
        except ConfigError as error:
            errors += error.messages
            continue
        warnings += found
        good.append((name, config))
        if args.preflight:
            errors += [f"{name}: {line}" for line in preflight(config)]
            warnings += [f"{name}: {line}" for line in remarks(config)]
    errors += between(good)
    if args.json:
        print(json.dumps({"ok": not errors, "files": args.files, "errors": errors, "warnings": warnings}))
    else:
        for line in warnings:
            print(f"warning: {line}", file=sys.stderr)
        for line in errors:
            print(line, file=sys.stderr)
        if not errors:
            print(f"{len(good)} file{'s' if len(good) > 1 else ''} checked, no fault found")
    return exitcodes.CONFIG if errors else exitcodes.OK
