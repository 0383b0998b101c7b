# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic status``: ask every instance how it is."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.cli import exitcodes
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
    parser.add_argument(
        "--run-dir", type=Path, default=Path("/run/mpquic"), metavar="DIR", help="(default: %(default)s)"
    )


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
        print(_table([_COLUMNS, *(_row(item) for item in instances)]))
        for item in instances:
            peers = item.get("peers", [])
            # One ordinary peer is what the line above shows.
            if len(peers) > 1 or any(peer["legacy"] for peer in peers):
                print(f"\npeers of {item['id']}:")
                print(_peer_table(peers))
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
    """Return the table of connections, by name and its numbers; a column that says nothing is left out."""
    rows = [_PEER_COLUMNS, *(_peer_row(peer) for peer in sorted(peers, key=lambda peer: _by_number(peer["name"])))]
    said = [column for column in range(len(_PEER_COLUMNS)) if any(row[column] != "-" for row in rows[1:])]
    return _table([tuple(row[column] for column in said) for row in rows])


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts client2 before client10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split("([0-9]+)", name)]


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (sys.maxsize, name)


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _plain(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return "-" if value is None or value == "" else str(value)


def _milliseconds(value: float | None) -> str:
    return f"{value:.1f}ms" if value is not None else "-"


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    row = (
        _plain(item, "id"),
        _plain(item, "role"),
        _plain(item, "state"),
        f"{item['since_s']:.0f}s" if "since_s" in item else "-",
        _plain(item, "tun"),
        _plain(item, "mtu"),
        _plain(item, "local"),
        _plain(item, "remote"),
        _milliseconds(item.get("rtt_ms")),
        _size(item.get("tx_bytes")),
        _size(item.get("rx_bytes")),
        str(sum(item.get("drops", {}).values())),
        _plain(item, "session"),
        _plain(item, "reason"),
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
        _plain(peer, "remote"),
        _milliseconds(peer["rtt_ms"]),
        _size(peer["tx_bytes"]),
        _size(peer["rx_bytes"]),
        str(sum(peer["drops"].values())),
        _plain(peer, "session"),
        "NO IDENTITY (mpquic-ip)" if peer["legacy"] else _plain(peer, "reason"),
    )


def _size(count: int | None) -> str:
    if count is None:
        return "-"
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f}{unit}" if unit == "B" else f"{amount:.1f}{unit}"
        amount /= 1000
    return f"{amount:.1f}TB"
