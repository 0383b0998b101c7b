# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic status``: ask every instance how it is."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes
from mpquic.cli import _paths as paths
from mpquic.cli._table import milliseconds, plain, size, spare_table, table
from mpquic.io.answer import read_status

if TYPE_CHECKING:
    import argparse

_INSTANCES = Path("/etc/mpquic/instances")
_COLUMNS = (
    "id",
    "role",
    "state",
    "since",
    "tun",
    "mtu",
    "plane",
    "local",
    "remote",
    "rtt",
    "tx",
    "rx",
    "drops",
    "session",
    "reason",
)
_PEER_COLUMNS = (
    "peer",
    "address",
    "shared",
    "state",
    "since",
    "remote",
    "rtt",
    "tx",
    "rx",
    "drops",
    "session",
    "reason",
)
#: What an instance's line says of one connection, and leaves to the peers' lines where there are several.
_OF_ONE = {"remote", "rtt", "session"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("instance", nargs="?", default="all", metavar="ID|all", help="one instance, or all (default)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    _host.add_run_dir_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the status; return OK, or FAILED when the instance asked for is neither configured nor running."""
    names = {path.parent.name for path in args.run_dir.glob("*/control.sock")}
    names |= {path.stem for path in _INSTANCES.glob("*.yaml")}
    if args.instance != "all":
        if args.instance not in names:
            print(f"{args.instance}: no such instance in {_INSTANCES} or {args.run_dir}", file=sys.stderr)
            return exitcodes.FAILED
        names = {args.instance}
    instances = [_status(args.run_dir, name) for name in sorted(names, key=_natural)]
    if args.json:
        print(json.dumps({"instances": instances}))
    elif instances:
        print(table([_COLUMNS, *(_row(item) for item in instances)]))
        for item in instances:
            peers = sorted(item.get("peers", []), key=lambda peer: _by_number(peer["name"]))
            # One ordinary peer is what the line above shows.
            if len(peers) > 1 or any(peer["legacy"] for peer in peers):
                print(f"\npeers of {item['id']}:")
                print(_peer_table(peers))
            for whose, found in [(item["id"], item), *((f"{item['id']}, {peer['name']}", peer) for peer in peers)]:
                if found.get("paths"):
                    print(f"\npaths of {whose}:\n{paths.path_table(found['paths'])}")
                if found.get("classes"):
                    print(f"\nclasses of {whose}:\n{paths.class_table(found['classes'])}")
    else:
        print(f"no instance (nothing in {_INSTANCES} or {args.run_dir})")
    return exitcodes.OK


def _status(run_dir: Path, name: str) -> dict[str, Any]:
    try:
        return read_status(run_dir / name / "control.sock", name)
    except FileNotFoundError:
        return {"id": name, "state": "down", "reason": f"not running (systemctl start mpquic@{name})"}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        return {"id": name, "state": "down", "reason": f"control socket: {reason}"}


def _peer_table(peers: list[dict[str, Any]]) -> str:
    """Return the table of connections."""
    return spare_table([_PEER_COLUMNS, *map(_peer_row, peers)])


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts client2 before client10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split("([0-9]+)", name)]


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (sys.maxsize, name)


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    row = (
        plain(item, "id"),
        plain(item, "role"),
        plain(item, "state"),
        f"{item['since_s']:.0f}s" if "since_s" in item else "-",
        plain(item, "tun"),
        plain(item, "mtu"),
        plain(item, "dataplane"),
        plain(item, "local"),
        plain(item, "remote"),
        milliseconds(item.get("rtt_ms")),
        size(item.get("tx_bytes")),
        size(item.get("rx_bytes")),
        str(sum(item.get("drops", {}).values())),
        plain(item, "session"),
        plain(item, "reason"),
    )
    if len(item.get("peers", [])) < 2:
        return row
    return tuple("-" if name in _OF_ONE else cell for name, cell in zip(_COLUMNS, row, strict=True))


def _peer_row(peer: dict[str, Any]) -> tuple[str, ...]:
    return (
        peer["name"],
        peer["address"],
        ",".join(peer.get("shared", [])) or "-",
        peer["state"],
        f"{peer['since_s']:.0f}s",
        plain(peer, "remote"),
        milliseconds(peer["rtt_ms"]),
        size(peer["tx_bytes"]),
        size(peer["rx_bytes"]),
        str(sum(peer["drops"].values())),
        plain(peer, "session"),
        "NO IDENTITY (mpquic-ip)" if peer["legacy"] else plain(peer, "reason"),
    )
