# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes
from mpquic.io.control import ask

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mpquic.config import InstanceConfig
    from mpquic.host.explain.report import Explanation
    from mpquic.host.instances import Instance


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--src", required=True, metavar="ADDR", help="source address, IPv4 or IPv6")
    parser.add_argument("--dst", required=True, metavar="ADDR", help="destination address")
    parser.add_argument("--proto", metavar="NAME|N", help="tcp, udp, icmp, another name, or 0 to 255")
    parser.add_argument("--sport", type=int, metavar="N", help="source port")
    parser.add_argument("--dport", type=int, metavar="N", help="destination port")
    parser.add_argument("--dscp", default="0", metavar="NAME|N", help="such as ef, af41 or 46 (default: %(default)s)")
    parser.add_argument("--iif", metavar="NAME", help="interface it comes in by (default: this host sends it)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--instances",
        default=_host.INSTANCES,
        metavar="DIR",
        help="instance files, with the rest of the plan beside their folder (default: %(default)s)",
    )
    _host.add_run_dir_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Explain one packet; return OK when it goes where it is planned to go, DEGRADED when not."""
    return _host.guarded(_explain, args)


def _explain(args: argparse.Namespace) -> int:
    from mpquic.host import instances  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.explain import packet, path, plan, ruleset  # noqa: PLC0415
    from mpquic.host.explain.sources import Sources  # noqa: PLC0415
    from mpquic.host.netlink import Kernel  # noqa: PLC0415
    from mpquic.host.shaper import document  # noqa: PLC0415

    question = packet.parse(
        args.src,
        args.dst,
        protocol=args.proto,
        sport=args.sport,
        dport=args.dport,
        dscp=args.dscp,
        iif=args.iif,
    )
    folder = Path(args.instances)
    # First, as it needs root: without it the files of the plan cannot be read either, and say less about why.
    table = ruleset.read()
    classes = plan.load(folder.parent / "classes.yaml")
    known = instances.select(folder, instances.ALL).known
    shaped = folder.parent / "shaper.yaml"
    with Kernel() as kernel:
        state = kernel.read()
    sources = Sources(
        table=table,
        table_wanted=bool(classes.links) or (folder.parent / "mpquic.nft").exists(),
        state=state,
        classes=classes,
        instances=known,
        # A host that shapes nothing has no such file.
        shaper=document.load(shaped) if shaped.exists() else (),
        load=lambda instance: _load(folder, instance),
        ask=lambda name: _ask(args.run_dir, name),
    )
    found = path.explain(question, sources)
    _host.output(args, found.result(), _text(found))
    return exitcodes.OK if found.as_planned else exitcodes.DEGRADED


def _load(folder: Path, instance: Instance) -> InstanceConfig:
    from mpquic import config  # noqa: PLC0415

    return config.load(folder / f"{instance.id}.yaml")[0]


def _ask(run_dir: Path, name: str) -> dict[str, Any] | None:
    try:
        return ask(run_dir / name / "control.sock", "status")
    except (OSError, ValueError):
        return None


def _text(found: Explanation) -> Iterator[str]:
    width = max(len(step.name) for step in found.steps)
    for step in found.steps:
        yield f"{step.name.ljust(width)}  {step.text}"
    for problem in found.differences:
        yield f"[FAIL] {problem.code}: {problem.message}"
    for text in found.uncertain:
        yield f"[WARN] {text}"
    for text in found.notes:
        yield f"[NOTE] {text}"
    planned = "as planned" if found.as_planned else "not as planned"
    sure = "" if not found.uncertain else ", uncertain"
    where = f" {found.tunnel['id']}" if found.verdict == "tunnel" and found.tunnel else ""
    yield f"{found.verdict}{where}, {planned}{sure}"
