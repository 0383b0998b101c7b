# SPDX-License-Identifier: GPL-3.0-or-later
"""``soak``: one tunnel at a steady rate for a long time. Does memory grow, do keys change, does anything go wrong?"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import iperf, machine
from tests.bench.arguments import positive
from tests.bench.leftovers import scratch
from tests.bench.measures import UDP_PAYLOAD
from tests.bench.meter import rss_mb
from tests.bench.peers import Mpquic
from tests.bench.soak_report import Record, judge
from tests.bench.wires import WIRES, Wire

if TYPE_CHECKING:
    from tests.bench.peers import Tunnel
    from tests.bench.shell import Process

#: Seconds between two looks.
INTERVAL = 10.0
_ROLES = ("server", "client")
_RATE = re.compile(r"[1-9][0-9]*[KMG]")
_OUTPUT = Path("build/bench/soak.json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.set_defaults(run=_soak)
    parser.add_argument("--minutes", type=positive, default=60, help="(default: %(default)s)")
    parser.add_argument("--rate", type=_rate, default="50M", help="bits per second such as 50M (default: %(default)s)")
    parser.add_argument("--protocol", choices=("udp", "tcp"), default="udp", help="(default: %(default)s)")
    parser.add_argument("--wire", choices=tuple(WIRES), default="W2", help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, default=_OUTPUT, metavar="FILE", help="(default: %(default)s)")


def _rate(text: str) -> str:
    if not _RATE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected bits per second such as 50M")
    return text


def _soak(args: argparse.Namespace) -> int:
    machine.expect_usable()
    wire = Wire()
    with scratch() as where, wire.made():
        wire.set_mode(args.wire)
        record = _record(wire, where, args)
    verdicts = judge(record)
    for status, text in verdicts:
        print(f"{status} {text}")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    about = machine.describe() | {key: getattr(args, key) for key in ("minutes", "rate", "protocol", "wire")}
    args.json.write_text(json.dumps({"about": about, "verdicts": verdicts, **vars(record)}, indent=1) + "\n")
    print(f"written: {args.json}")
    return int(any(status == "FAIL" for status, _text in verdicts))


def _record(wire: Wire, where: Path, args: argparse.Namespace) -> Record:
    peer, seconds = Mpquic(log_level="info"), args.minutes * 60.0
    options = ("-b", args.rate, "-i", "60", *(("-u", "-l", str(UDP_PAYLOAD)) if args.protocol == "udp" else ()))
    record = Record()
    with peer.tunnel(wire.ends, where) as tunnel:
        begin = time.monotonic()
        with iperf.running(tunnel, where, seconds, *options) as client:
            while client.alive() and all(process.alive() for process in tunnel.processes):
                moment = time.monotonic() - begin
                record.memory.append((moment, *(rss_mb(pid) for pid in tunnel.pids)))
                if len(record.memory) % 6 == 1:
                    machine.say(f"{moment / 60:.0f} of {args.minutes} min, {_sizes(record)}")
                _pause(client, INTERVAL)
            tunnel.expect_alive()
            flow = iperf.result(client, 30)
        record.mbit = flow.mbit
        record.sent, record.received = flow.sent, flow.received
        _close(record, peer, tunnel, where)
    return record


def _close(record: Record, peer: Mpquic, tunnel: Tunnel, where: Path) -> None:
    for role, process in zip(_ROLES, tunnel.processes, strict=True):
        status: dict[str, Any] = peer.status(where, role)
        record.drops[role] = status.get("drops", {})
        record.key_updates[role] = status.get("key_updates")
        # Whatever is no line of a known lower level is an error: "error ..." or the lines of a traceback.
        record.errors += [line for line in process.output().splitlines() if not line.startswith(("info ", "debug "))]


def _sizes(record: Record) -> str:
    return ", ".join(f"{role} {size:.1f} MB" for role, size in zip(_ROLES, record.memory[-1][1:], strict=True))


def _pause(client: Process, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and client.alive():
        time.sleep(0.2)
