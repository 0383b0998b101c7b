# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``mpquic status`` and ``mpquic top`` show: a line for each tunnel, peer, path and class."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mpquic.cli._table import BAD, DOUBTFUL, GOOD, QUIET, Cell, duration, milliseconds, percent, plain, rate, size
from mpquic.host import overview
from mpquic.io import symptoms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mpquic.cli._table import Row

HEAD = ("tunnel", "state", "since", "way", "rtt", "loss", "tx", "rx", "queue", "mtu", "fault")
_STYLES = {overview.GOOD: GOOD, overview.UNSURE: DOUBTFUL, overview.BAD: BAD}
#: What the only peer of a server says for its instance.
_OF_ONE = ("recent", "figures", "datagram")


def rows(items: Iterable[dict[str, Any]]) -> Iterator[Row]:
    """Yield the lines of all instances."""
    for item in items:
        peers = sorted(item.get("peers", []), key=lambda peer: _by_number(peer["name"]))
        # One ordinary peer is what the line of its instance shows, but for its path.
        several = len(peers) > 1 or any(peer["legacy"] for peer in peers)
        shown = item if several or not peers else item | {key: peers[0].get(key) for key in _OF_ONE}
        yield _row(f"{item['id']} {item['role']}" if "role" in item else item["id"], shown, _way(shown))
        yield from _parts(item, "  ")
        for peer in peers:
            if several:
                yield _row(f"  {peer['name']}", peer, ",".join([peer["address"], *peer.get("shared", [])]))
            yield from _parts(peer, "    " if several else "  ")


def details(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what else there is to say about one instance."""
    drops = ", ".join(f"{reason} {count}" for reason, count in item.get("drops", {}).items())
    refused = item.get("last_refused")
    yield from {
        "tun": plain(item, "tun"),
        "local": plain(item, "local"),
        "remote": plain(item, "remote"),
        "session": plain(item, "session"),
        "sent": f"{size(item.get('tx_bytes'))} in {item.get('tx_packets', 0)} packets",
        "received": f"{size(item.get('rx_bytes'))} in {item.get('rx_packets', 0)} packets",
        "dropped": drops or "nothing",
        "connects": f"{item.get('connects', 0)}, fell {item.get('falls', 0)} times",
        "last refused": f"{duration(refused['ago_s'])} ago, {refused['reason']}" if refused else "-",
        "data plane": " ".join(filter(None, [plain(item, "dataplane"), item.get("dataplane_reason")])),
        "identity": plain(item, "identity"),
        "version": plain(item, "version"),
        "pid": plain(item, "pid"),
    }.items()


def _parts(end: dict[str, Any], indent: str) -> Iterator[Row]:
    """Yield the paths and classes of an end."""
    for path in end.get("paths", ()):
        yield _row(f"{indent}{path['name']}", path, _way(path))
    for one in end.get("classes", ()):
        yield _class_row(f"{indent}class {one['name']}", one)


def _row(name: str, entry: dict[str, Any], way: str) -> Row:
    recent, figures = entry.get("recent") or {}, entry.get("figures") or {}
    faults = overview.faults(entry)
    waiting = figures.get("queue_packets")
    return [
        Cell(name),
        _state(entry["state"]),
        Cell(duration(entry.get("since_s"))),
        Cell(way),
        Cell(milliseconds(entry.get("rtt_ms")), BAD if "rtt_high" in faults else ""),
        Cell(percent(symptoms.loss(entry)), BAD if "loss" in faults else ""),
        Cell(rate(recent.get("tx_bps"))),
        Cell(rate(recent.get("rx_bps"))),
        Cell("-" if waiting is None else str(waiting), DOUBTFUL if waiting else ""),
        Cell(plain(entry, "mtu"), DOUBTFUL if "mtu_fell" in faults else ""),
        _fault(entry, faults),
    ]


def _class_row(name: str, one: dict[str, Any]) -> Row:
    recent = one.get("recent") or {}
    lost = f"{one['tx_err']} without a path" if one["tx_err"] else "-"
    cells = [Cell("-")] * len(HEAD)
    cells[0], cells[3] = Cell(name, QUIET), Cell(one["policy"], QUIET)
    cells[6], cells[7] = Cell(rate(recent.get("tx_bps"))), Cell(rate(recent.get("rx_bps")))
    cells[-1] = Cell(lost, DOUBTFUL if one["tx_err"] else "")
    return cells


def _state(state: str) -> Cell:
    return Cell(state, _STYLES[overview.level(state)])


def _fault(entry: dict[str, Any], faults: dict[str, str]) -> Cell:
    """Return what is wrong, or what was last."""
    if entry.get("legacy"):
        return Cell("NO IDENTITY (mpquic-ip)", DOUBTFUL)
    if faults:
        return Cell("; ".join(faults.values()), BAD)
    # What the daemon says beside its state: how many peers are up, and what it lacks.
    if entry.get("reason", "connected") not in {"", "connected"} and "peers" in entry and len(entry["peers"]) != 1:
        return Cell(entry["reason"])
    last = entry.get("last_fault")
    if last is not None and last["ago_s"] < overview.OLD:
        return Cell(f"{duration(last['ago_s'])} ago: {last['reason']}", QUIET)
    return Cell("-")


def _way(entry: dict[str, Any]) -> str:
    """Return from where to where its packets go."""
    here = (entry.get("bind") or "").removeprefix("if:")
    local, remote = entry.get("local"), entry.get("remote")
    if not here or here in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        here = local or ""
    return f"{here} > {remote}" if here and remote else here or remote or "-"


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts client2 before client10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split("([0-9]+)", name)]
