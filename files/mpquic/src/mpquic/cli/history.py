# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic history``: what this host has recorded, figures and events."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mpquic.cli import _host, exitcodes
from mpquic.cli._table import milliseconds, size, spare_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from mpquic.host.history.query import Wish

#: Of the JSON object.
_SCHEMA = 1
_STEPS = {"minute": 1, "15min": 15, "hour": 60, "day": 1440}
_WHAT = ("all", "figures", "events")
_FIGURES = (
    "time",
    "tunnel",
    "peer",
    "kind",
    "name",
    "tx",
    "rx",
    "drops",
    "rtt",
    "worst",
    "loss",
    "worst",
    "doubt",
    "down",
)
_EVENTS = ("time", "tunnel", "peer", "path", "event", "what", "reason")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("instance", nargs="?", default="all", metavar="ID|all", help="one instance, or all (default)")
    parser.add_argument("--path", metavar="NAME", help="only this path")
    parser.add_argument("--class", dest="traffic_class", metavar="NAME", help="only this class")
    parser.add_argument("--peer", metavar="NAME", help="on a server: only this peer")
    times = "90m, 6h, 2d, HH:MM, YYYY-MM-DD or 'YYYY-MM-DD HH:MM'"
    parser.add_argument("--since", default="24h", metavar="TIME", help=f"from when on: {times} (default: %(default)s)")
    parser.add_argument("--until", default="now", metavar="TIME", help="until when (default: %(default)s)")
    parser.add_argument("--show", choices=_WHAT, default=_WHAT[0], help="figures, events or both (default)")
    parser.add_argument("--step", choices=tuple(_STEPS), help="what one line is about (default: by the span of time)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    _host.add_history_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Show what was recorded."""
    return _host.guarded(_history, args)


def _history(args: argparse.Namespace) -> int:
    from mpquic.host.errors import UsageError  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.history import query, store  # noqa: PLC0415

    now = time.time()
    wish = query.Wish(
        query.moment(args.since, now),
        query.moment(args.until, now),
        instance=None if args.instance == "all" else args.instance,
        peer=args.peer,
        path=args.path,
        traffic_class=args.traffic_class,
    )
    if wish.since >= wish.until:
        raise UsageError("history: --since: found a time that is not before --until")
    step = _STEPS[args.step] if args.step else wish.step
    with store.reading(args.history) as connection:
        figures = query.figures(connection, wish, step) if args.show != "events" else []
        events = query.events(connection, wish) if args.show != "figures" else []
        recorded = query.span(connection)
    result = {
        "schema": _SCHEMA,
        **asdict(wish),
        "step_s": step * 60,
        "recorded": None if recorded is None else {"since": recorded[0], "until": recorded[1]},
        "figures": figures,
        "events": events,
    }
    _host.output(args, result, _text(args, wish, result))
    return exitcodes.OK


def _text(args: argparse.Namespace, wish: Wish, result: dict[str, Any]) -> Iterator[str]:
    figures, events, recorded = result["figures"], result["events"], result["recorded"]
    span = f"between {_at(wish.since)} and {_at(wish.until)}"
    if args.show != "events":
        if figures:
            yield spare_table([_FIGURES, *map(_figure, figures)])
        else:
            yield f"no figures {span}{_of(wish)}: {_why(wish, recorded)}"
    if args.show == "all":
        yield ""
    if args.show != "figures":
        yield spare_table([_EVENTS, *map(_event, events)]) if events else f"no events {span}{_of(wish)}"


def _why(wish: Wish, recorded: dict[str, float] | None) -> str:
    """Say why there is nothing."""
    if recorded is None:
        return "nothing was recorded so far (systemctl status mpquic-recorder)"
    if recorded["until"] <= wish.since:
        return f"the last ones are of {_at(recorded['until'])} (systemctl status mpquic-recorder)"
    if recorded["since"] >= wish.until:
        return f"the first ones are of {_at(recorded['since'])}"
    return f"there are others, from {_at(recorded['since'])} to {_at(recorded['until'])}"


def _of(wish: Wish) -> str:
    wanted = {"tunnel": wish.instance, "peer": wish.peer, "path": wish.path, "class": wish.traffic_class}
    said = [f"{word} {name}" for word, name in wanted.items() if name is not None]
    return f" of {', '.join(said)}" if said else ""


def _figure(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        _at(row["at"]),
        row["instance"],
        row["peer"] or "-",
        row["kind"],
        row["name"] or "-",
        size(row["tx_bytes"]),
        # The daemon does not count what a class receives in bytes.
        "-" if row["kind"] == "class" else size(row["rx_bytes"]),
        str(row["drops"]) if row["drops"] else "-",
        milliseconds(row["rtt_ms"]),
        milliseconds(row["rtt_max_ms"]),
        *("-" if row[key] is None else f"{row[key]:.1%}" for key in ("loss", "loss_max")),
        *(f"{row[key]:.0f}s" if row[key] >= 0.5 else "-" for key in ("doubt_s", "down_s")),
    )


def _event(row: dict[str, Any]) -> tuple[str, ...]:
    cells: Sequence[str] = [row[key] or "-" for key in ("instance", "peer", "path", "kind", "what", "reason")]
    return (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["at"])), *cells)


def _at(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
