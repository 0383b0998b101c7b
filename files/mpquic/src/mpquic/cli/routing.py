# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic routing check|fix``."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mpquic.host.instances import Instance
    from mpquic.host.repair import Outcome, Report


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=("check", "fix"), help="compare only, or repair")
    parser.add_argument("target", nargs="?", default="all", metavar="ID|all", help="one instance, or all (default)")
    _host.add_instances_argument(parser)
    _host.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _host.guarded(_routing, args)


def _routing(args: argparse.Namespace) -> int:
    from mpquic.host import instances, lock, repair  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.netlink import Kernel  # noqa: PLC0415

    selection = instances.select(Path(args.instances), args.target)
    changing = args.action == "fix" and not args.check
    with lock.exclusive() if changing else contextlib.nullcontext(), Kernel() as kernel:
        if args.action == "check":
            outcome = repair.check(kernel.read(), selection)
        else:
            outcome = repair.fix(kernel, selection, dry=args.check)
    _host.output(args, _result(args, outcome), _text(args, outcome))
    return exitcodes.DEGRADED if outcome.degraded or outcome.stale_after or _pending(args, outcome) else exitcodes.OK


def _pending(args: argparse.Namespace, outcome: Outcome) -> bool:
    return args.check and outcome.changed


def _result(args: argparse.Namespace, outcome: Outcome) -> dict[str, Any]:
    reports = outcome.reports
    return {
        "action": args.action,
        "target": args.target,
        "changed": args.action == "fix" and outcome.changed,
        "degraded": outcome.degraded,
        "tunnels": [_tunnel(report) for report in reports],
        "stale": outcome.stale_after if args.action == "fix" and not args.check else outcome.stale_before,
        "stale_actions": outcome.stale_actions,
        "stale_failures": [asdict(problem) for problem in outcome.stale_failures],
        "before": {"tunnels": {r.instance.id: r.before for r in reports}, "stale": outcome.stale_before},
        "after": {"tunnels": {r.instance.id: r.after for r in reports}, "stale": outcome.stale_after},
    }


def _tunnel(report: Report) -> dict[str, Any]:
    instance = report.instance
    lan = instance.lan
    return {
        "id": instance.id,
        "role": instance.role,
        "tun": instance.tun,
        "lan": lan and {"interface": lan.interface, "cidrs": [str(prefix) for prefix in lan.cidrs], "mark": lan.mark},
        "table": lan and (lan.table if instance.client else "main"),
        "priority": lan and lan.priority if instance.client else None,
        "ok": not report.problems,
        "problems": [asdict(problem) for problem in report.problems],
        "repaired": [asdict(problem) for problem in report.repaired],
        "actions": report.actions,
    }


def _text(args: argparse.Namespace, outcome: Outcome) -> Iterator[str]:
    word = "[PLAN]" if args.check else "[FIX] "
    width = max((len(report.instance.id) for report in outcome.reports), default=1)
    for report in outcome.reports:
        name = report.instance.id.ljust(width)
        for action in report.actions:
            yield f"{word} {name}  {action}"
        for problem in report.problems:
            yield f"[FAIL] {name}  {problem.code}: {problem.message}"
        if not report.problems:
            yield f"[OK]   {name}  {_path(report.instance)}"
    for action in outcome.stale_actions:
        yield f"{word} {'-'.ljust(width)}  {action}"
    for stale in outcome.stale_after:
        yield f"[FAIL] {'-'.ljust(width)}  stale: {stale} belongs to no instance"
    for problem in outcome.stale_failures:
        yield f"[FAIL] {'-'.ljust(width)}  {problem.code}: {problem.message}"
    yield f"degraded={outcome.degraded}"


def _path(instance: Instance) -> str:
    lan = instance.lan
    if lan is None:
        return f"{instance.tun} (no LAN)"
    if lan.mark is not None:
        return f"mark {lan.mark:#010x} -> table {lan.table} -> {instance.tun}"
    prefixes = ",".join(str(prefix) for prefix in lan.cidrs)
    if instance.client:
        return f"{lan.interface} {prefixes} -> table {lan.table} -> {instance.tun}"
    return f"{prefixes} -> table main -> {instance.tun}"
