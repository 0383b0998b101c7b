# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic shaper check|fix``."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from mpquic.host.shaper.repair import Report

FILE = "/etc/mpquic/shaper.yaml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=("check", "fix"), help="compare only, or repair")
    parser.add_argument(
        "--file", default=FILE, metavar="FILE", help="what is wanted; none: nothing (default: %(default)s)"
    )
    _host.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _host.guarded(_shaper, args)


def _shaper(args: argparse.Namespace) -> int:
    from mpquic.host import lock  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.shaper import document, repair  # noqa: PLC0415
    from mpquic.host.shaper.netlink import TcKernel  # noqa: PLC0415

    links = document.load(Path(args.file))
    changing = args.action == "fix" and not args.check
    with lock.exclusive() if changing else contextlib.nullcontext(), TcKernel() as kernel:
        if args.action == "check":
            reports = repair.check(kernel.read(), links)
        else:
            reports = repair.fix(kernel, links, dry=args.check)
    _host.output(args, _result(args, reports), _text(args, reports))
    pending = args.check and any(report.changed for report in reports)
    return exitcodes.DEGRADED if pending or _degraded(reports) else exitcodes.OK


def _degraded(reports: Sequence[Report]) -> int:
    return sum(1 for report in reports if report.problems)


def _result(args: argparse.Namespace, reports: Sequence[Report]) -> dict[str, Any]:
    return {
        "action": args.action,
        "changed": args.action == "fix" and any(report.changed for report in reports),
        "degraded": _degraded(reports),
        "interfaces": [_interface(report) for report in reports],
        "before": {report.place.name: report.before for report in reports},
        "after": {report.place.name: report.after for report in reports},
    }


def _interface(report: Report) -> dict[str, Any]:
    return {
        "name": report.place.name,
        "found": report.place.interface is not None,
        "links": [link.name for link in report.place.links],
        "ok": not report.problems,
        "problems": [asdict(problem) for problem in report.problems],
        "repaired": [asdict(problem) for problem in report.repaired],
        "actions": report.actions,
    }


def _text(args: argparse.Namespace, reports: Sequence[Report]) -> Iterator[str]:
    word = "[PLAN]" if args.check else "[FIX] "
    for report in reports:
        for action in report.actions:
            yield f"{word} {action}"
        for problem in report.problems:
            yield f"[FAIL] {problem.code}: {problem.message}"
        if not report.problems:
            yield f"[OK]   {report.place.name}  {_shaped(report)}"
    if not reports:
        yield "[OK]   no shaper, and none is wanted"
    yield f"degraded={_degraded(reports)}"


def _shaped(report: Report) -> str:
    from mpquic.host.shaper import sizes, text  # noqa: PLC0415

    links = report.place.links
    if not links:
        return "not shaped"
    return ", ".join(
        f"{link.name}: {len(link.classes)} classes in {text.rate(sizes.link_rate(link.rate))}" for link in links
    )
