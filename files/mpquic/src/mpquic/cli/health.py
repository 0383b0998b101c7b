# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic health check|fix``."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from mpquic.host.health import Tunnel

_ECHO_TIMEOUT = 2.0
_PATIENCE = 15.0
_STATE = Path("/run/mpquic-health")
#: Of the JSON object.
_SCHEMA = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=("check", "fix"), help="examine only, or recover")
    parser.add_argument("target", nargs="?", default="all", metavar="ID|all", help="one instance, or all (default)")
    parser.add_argument("--role", choices=("client", "server"), help="only the instances of this role")
    parser.add_argument(
        "--timeout",
        type=float,
        default=_ECHO_TIMEOUT,
        metavar="S",
        help="wait for the last reply (default: %(default)s)",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=_PATIENCE,
        metavar="S",
        help="wait for a restarted tunnel (default: %(default)s)",
    )
    parser.add_argument(
        "--timed",
        action="store_true",
        help="recover as a timer may: not while a play is at work, and the same instance less and less often",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=_STATE,
        metavar="DIR",
        help="where --timed remembers restarts (default: %(default)s)",
    )
    _host.add_run_dir_argument(parser)
    _host.add_instances_argument(parser)
    _host.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return _host.guarded(_health, args)


def _health(args: argparse.Namespace) -> int:
    from mpquic.host import health, instances, timed  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.errors import UsageError  # noqa: PLC0415
    from mpquic.host.netlink import Kernel  # noqa: PLC0415

    if args.timeout <= 0 or args.patience < 0:
        raise UsageError("health: --timeout and --patience: expected seconds above 0")
    if args.timed and args.action != "fix":
        raise UsageError("health: --timed: expected with fix only")
    selection = instances.select(Path(args.instances), args.target)
    if args.role:
        selection = replace(selection, chosen=tuple(i for i in selection.chosen if i.role == args.role))
    with Kernel() as kernel:
        doctor = health.Doctor(kernel, selection, args.timeout, args.patience, partial(_host.ask, args.run_dir))
        deferred = None
        if args.timed:
            round_ = timed.run(doctor, args.state_dir, timed.deferral(Path(args.instances)), dry=args.check)
            tunnels, deferred = round_.tunnels, round_.deferred
        else:
            tunnels = doctor.check() if args.action == "check" else doctor.fix(dry=args.check)
    result = {"schema": _SCHEMA, "timed": args.timed, "deferred": deferred, **_result(args, tunnels)}
    _host.output(args, result, _text(args, tunnels, result))
    return exitcodes.DEGRADED if result["degraded"] else exitcodes.OK


def _result(args: argparse.Namespace, tunnels: Sequence[Tunnel]) -> dict[str, Any]:
    degraded = sum(1 for tunnel in tunnels if not tunnel.healthy)
    return {
        "role": args.role or "auto",
        "mode": args.action,
        "target": args.target,
        "healthy": degraded == 0,
        "degraded": degraded,
        "changed": any(tunnel.actions for tunnel in tunnels),
        "tunnels": [_tunnel(tunnel) for tunnel in tunnels],
    }


def _tunnel(tunnel: Tunnel) -> dict[str, Any]:
    instance = tunnel.instance
    return {
        "id": instance.id,
        "role": instance.role,
        "tun": instance.tun,
        "wan": instance.where,
        "peer": instance.peer,
        "healthy": tunnel.healthy,
        "rtt_ms": tunnel.echo.best_ms if tunnel.echo else None,
        "loss": tunnel.echo.loss if tunnel.echo else None,
        "unit": tunnel.unit,
        "state": tunnel.daemon.get("state") if tunnel.daemon else None,
        "peers": {"up": tunnel.peers[0], "total": tunnel.peers[1]} if tunnel.peers else None,
        "paths": {"up": tunnel.paths[0], "total": tunnel.paths[1]} if tunnel.paths else None,
        "reasons": [asdict(reason) for reason in tunnel.reasons],
        "found": [asdict(reason) for reason in tunnel.found],
        "actions": tunnel.actions,
        "notes": [asdict(note) for note in tunnel.notes],
        "restarts": _restarts(tunnel),
    }


def _restarts(tunnel: Tunnel) -> dict[str, Any] | None:
    return {"count": tunnel.restarts[0], "wait_s": round(tunnel.restarts[1])} if tunnel.restarts else None


def _text(args: argparse.Namespace, tunnels: Sequence[Tunnel], result: dict[str, Any]) -> Iterator[str]:
    word = "[PLAN]" if args.check else "[FIX] "
    if result["deferred"]:
        yield f"[WAIT] deferred: {result['deferred']}"
    width = max((len(tunnel.instance.id) for tunnel in tunnels), default=1)
    for tunnel in tunnels:
        name = tunnel.instance.id.ljust(width)
        for action in tunnel.actions:
            yield f"{word} {name}  {action}"
        for reason in tunnel.reasons:
            where = f"{tunnel.instance.tun} on {tunnel.instance.where}"
            yield f"[FAIL] {name}  {where}: {reason.code}: {reason.message}"
        for note in tunnel.notes:
            yield f"[NOTE] {name}  {note.code}: {note.message}"
        if tunnel.restarts and tunnel.restarts[1]:
            count, wait = tunnel.restarts
            yield f"[WAIT] {name}  restarted {count} times in vain, not again for {wait:.0f} s"
        if tunnel.healthy:
            yield f"[OK]   {name}  {_line(tunnel)}"
    changed = "yes" if result["changed"] else "no"
    yield f"healthy={len(tunnels) - result['degraded']} degraded={result['degraded']} changed={changed}"


def _line(tunnel: Tunnel) -> str:
    instance = tunnel.instance
    wan = instance.where
    if tunnel.paths is not None:
        wan = f"{wan}, {tunnel.paths[0]} of {tunnel.paths[1]} paths up"
    if tunnel.peers is not None:
        return f"{instance.tun} on {wan}, {tunnel.peers[0]} of {tunnel.peers[1]} peers up"
    if tunnel.notes:
        return f"{instance.tun} on {wan}, waits for its client"
    if tunnel.echo is None:
        return f"{instance.tun} on {wan}, up"
    return f"{instance.tun} on {wan}, {instance.peer} answers in {tunnel.echo.best_ms} ms, loss {tunnel.echo.loss:.0%}"
