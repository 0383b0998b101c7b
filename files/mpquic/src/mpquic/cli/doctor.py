# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic doctor``: every check there is, and for each finding why it matters and what mends it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes
from mpquic.host.history import usage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from mpquic.host.doctor.finding import Finding

_IDENTITY = "/etc/mpquic/identity"
#: Of the JSON object.
_SCHEMA = 1
_WORDS = {"fail": "[FAIL]", "warn": "[WARN]", "note": "[NOTE]"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("target", nargs="?", default="all", metavar="ID|all", help="one instance, or all (default)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--identity", default=_IDENTITY, metavar="DIR", help="the host's key (default: %(default)s)")
    _host.add_instances_argument(parser)
    _host.add_run_dir_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Examine the host; return OK when nothing is wrong, DEGRADED when something is."""
    return _host.guarded(_doctor, args)


def _doctor(args: argparse.Namespace) -> int:
    from mpquic.host.doctor.examine import Place, examine  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.netlink import Kernel  # noqa: PLC0415

    with Kernel() as kernel:
        ask = partial(_host.ask, args.run_dir)
        place = Place(kernel, Path(args.instances), Path(args.identity), ask, args.run_dir / usage.FILE.name)
        looked, found = examine(place, args.target)
    wrong = [one for one in found if one.level.value != "note"]
    result = {
        "schema": _SCHEMA,
        "healthy": not wrong,
        "tunnels": looked,
        "findings": [_entry(one) for one in found],
    }
    _host.output(args, result, _text(looked, found, wrong))
    return exitcodes.DEGRADED if wrong else exitcodes.OK


def _entry(one: Finding) -> dict[str, Any]:
    return {
        "level": one.level.value,
        "where": one.where,
        "code": one.code,
        "message": one.message,
        "why": one.why,
        "mend": one.mend,
    }


def _text(looked: Sequence[str], found: Sequence[Finding], wrong: Sequence[Finding]) -> Iterator[str]:
    for one in found:
        yield f"{_WORDS[one.level.value]} {one.where}: {one.code}: {one.message}"
        if one.level.value != "note":
            yield f"       why   {one.why}"
            if one.mend is not None:
                yield f"       mend  {one.mend}"
    ill = {one.where.partition(",")[0] for one in wrong}
    for name in looked:
        if f"tunnel {name}" not in ill:
            yield f"[OK]   tunnel {name}"
    if "host" not in ill:
        yield "[OK]   host"
    yield f"tunnels={len(looked)} wrong={len(wrong)}"
