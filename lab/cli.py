# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lab import base, lifecycle, report, status
from lab.cgroups import joining
from lab.errors import EXIT_DEGRADED, EXIT_FAILED, LabError, UsageError
from lab.paths import Paths
from lab.shell import note, require_tools, step
from lab.topology import load

if TYPE_CHECKING:
    from collections.abc import Callable

TOPOLOGY = Path(__file__).parent / "topology.yml"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UsageError(f"{message} (see lab --help)")


def parser() -> Parser:
    """Describe the command line."""
    top = Parser(prog="lab", description=__doc__)
    top.add_argument("-t", "--topology", type=Path, default=TOPOLOGY, help="topology file (default: the lab's own)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *arguments: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        for argument in arguments:
            sub.add_argument(argument.lower(), metavar=argument)
        return sub

    command("up", "bring everything up; idempotent")
    command("down", "remove everything but the base root; idempotent")
    shown = command("status", "show machines and WANs; exit 0 up, 2 degraded, 1 down")
    shown.add_argument("--json", action="store_true", help="one JSON object")
    run = command("exec", "run a command in a host, an ISP, a LAN client or the internet", "PLACE")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD...")
    command("crash", "pull the plug of a host", "HOST")
    command("start", "switch a host on", "HOST")
    command("stop", "shut a host down", "HOST")
    command("cut", "let everything on a WAN vanish silently in the middle of the path", "WAN")
    command("restore", "bring a WAN back to the topology's quality", "WAN")
    impair = command("impair", "change a WAN's quality", "WAN")
    impair.add_argument(
        "settings",
        nargs="+",
        metavar="KEY=VALUE",
        help="rate_up, rate_down or rate for both (Mbit/s, 0: unlimited), delay and jitter (ms each way), "
        "loss (percent), limit (bytes)",
    )
    command("report", "measure what the tunnels deliver; exit 2 if one delivers nothing")
    command("base", "build the base root")
    command("purge", "down, and remove every file of the lab, the base root included if no other lab is left")
    return top


def cmd_exec(paths: Paths, place: str, argv: list[str]) -> NoReturn:
    """Become the command."""
    if not argv:
        raise UsageError("exec: expected a command (see lab --help)")
    topology = paths.topology
    if place not in topology.places:
        raise LabError(f"{place}: no such place, expected one of {', '.join(topology.places)}")
    lifecycle.require_up(paths)
    if place in topology.hosts:
        command = lifecycle.machine(paths, place).command(argv)
    else:
        paths.commands.mkdir(exist_ok=True)
        command = joining(paths.commands, ["ip", "netns", "exec", paths.netns(place), *argv])
    os.execvp(command[0], command)  # noqa: S606


def cmd_power(paths: Paths, command: str, host: str) -> None:
    """Run start, stop or crash."""
    machine = lifecycle.machine(paths, host)
    lifecycle.require_up(paths)
    with lifecycle.exclusive(paths.state), step(f"{command} {host}"):
        if command == "start":
            machine.start()
            machine.wait()
        elif command == "stop":
            machine.stop()
        else:
            machine.crash()


def cmd_wan(paths: Paths, command: str, name: str, settings: list[str]) -> None:
    """Run cut, restore or impair."""
    wire = lifecycle.wire(paths, name)
    lifecycle.require_up(paths)
    with lifecycle.exclusive(paths.state):
        quality, cut = wire.read()
        if command == "cut":
            wire.apply(quality, cut=True)
        elif command == "restore":
            wire.apply(wire.wan.quality, cut=False)
        else:
            wire.apply(quality.changed(parse_settings(settings), "", UsageError), cut=cut)


def parse_settings(settings: list[str]) -> dict[str, float]:
    """Parse KEY=VALUE words; `rate` stands for both directions."""
    values: dict[str, float] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = None
        if not equals or value is None:
            raise UsageError(f"impair: expected KEY=NUMBER, found {setting!r}")
        for name in ("rate_up", "rate_down") if key == "rate" else (key,):
            values[name] = value
    return values


def cmd_status(paths: Paths, *, as_json: bool) -> int:
    """Show the status; the exit code tells it as well."""
    found = status.read(paths)
    print(json.dumps(found) if as_json else status.show(found))
    return {"up": 0, "degraded": EXIT_DEGRADED}.get(found["state"], EXIT_FAILED)


def dispatch(argv: list[str]) -> int:
    """Run one command line."""
    arguments = parser().parse_args(argv)
    paths = Paths(load(arguments.topology))
    if os.geteuid() != 0:
        raise LabError("expected to be run as root")
    whole: dict[str, Callable[[Paths], None]] = {
        "up": lifecycle.up,
        "down": lifecycle.down,
        "purge": lifecycle.purge,
    }
    match arguments.command:
        case "status":
            return cmd_status(paths, as_json=arguments.json)
        case "report":
            return EXIT_DEGRADED if report.report(paths) else 0
        case "exec":
            cmd_exec(paths, arguments.place, arguments.argv)
        case "crash" | "start" | "stop":
            cmd_power(paths, arguments.command, arguments.host)
        case "cut" | "restore" | "impair":
            cmd_wan(paths, arguments.command, arguments.wan, getattr(arguments, "settings", []))
        case "base":
            require_tools()
            note(f"base root: {base.ensure()}")
        case command:
            whole[command](paths)
    return 0


def main(argv: list[str]) -> int:
    """Run the lab's command line; errors are one line on stderr."""
    try:
        return dispatch(argv)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
