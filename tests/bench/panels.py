# SPDX-License-Identifier: GPL-3.0-or-later
"""What the picture shows: panels of named bars, taken from the medians of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bench.measures import UDP_OFFERED
from tests.bench.peers import OURS, PEERS
from tests.bench.wires import WIRE_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.results import Results

#: The wire that figures are quoted from.
_QUOTED = "W2"
#: Without the plain wire, which would dwarf everything.
_TUNNELS = tuple(name for name in PEERS if name != "veth")


@dataclass(frozen=True)
class Bar:
    """One bar: whose it is, its name, its length, the text at its end, and where a thin line over it ends."""

    peer: str
    name: str
    value: float | None
    text: str
    reach: float | None = None


@dataclass(frozen=True)
class Group:
    """Bars under a heading (empty: none)."""

    heading: str
    bars: list[Bar]


@dataclass(frozen=True)
class Panel:
    """One diagram."""

    title: str
    remark: str
    groups: list[Group] = field(default_factory=list)

    def told(self) -> bool:
        """Tell whether there is anything to see."""
        return any(bar.value is not None for group in self.groups for bar in group.bars)


def rows(results: Results) -> list[tuple[list[Panel], list[Panel]]]:
    """Return the panels row by row, those of the left and of the right half; a panel without figures is left out."""
    table = [
        ([_throughput(results)], [_cpu(results)]),
        ([_latency(results)], [_small(results), _loss(results)]),
        ([_growth(results)], [_wan(results)]),
    ]
    told = [
        ([panel for panel in left if panel.told()], [panel for panel in right if panel.told()]) for left, right in table
    ]
    return [(left, right) for left, right in told if left or right]


def _bars(
    results: Results, wire: str, test: str, figure: Callable[[str], tuple[float, str, float | None] | None]
) -> list[Bar]:
    """Return a bar for every tunnel that was chosen; ``figure`` gives value, text and reach of a peer."""
    bars = []
    for peer in _TUNNELS:
        if peer not in results.chosen("peers"):
            continue
        found = figure(peer)
        if found is not None:
            value, text, reach = found
            bars.append(Bar(peer, PEERS[peer].label, value, text, reach))
        elif peer in results.unavailable:
            bars.append(Bar(peer, PEERS[peer].label, None, "not available"))
        elif results.failure(wire, test, peer):
            bars.append(Bar(peer, PEERS[peer].label, None, "failed"))
    return bars


def _plain(results: Results, wire: str, test: str, metric: str, unit: str, digits: int = 0) -> list[Bar]:
    def figure(peer: str) -> tuple[float, str, float | None] | None:
        value = results.median(wire, test, peer, metric)
        return None if value is None else (value, f"{value:,.{digits}f} {unit}", None)

    return _bars(results, wire, test, figure)


def _throughput(results: Results) -> Panel:
    def group(wire: str) -> Group:
        def figure(peer: str) -> tuple[float, str, float | None] | None:
            found = [results.median(wire, test, peer, "mbit") for test in ("tcp", "rtcp")]
            ways = [value for value in found if value is not None]
            return (min(ways), f"{min(ways):,.0f} Mbit/s", None) if ways else None

        return Group(f"{wire}: {WIRE_TEXT[wire]}", _bars(results, wire, "tcp", figure))

    groups = [group(wire) for wire in ("W2", "W3", "W1") if wire in results.chosen("wires")]
    return Panel("One TCP stream through one tunnel", "Mbit/s, the slower of both directions; more is better", groups)


def _cpu(results: Results) -> Panel:
    groups = [
        Group(f"{wire}: {WIRE_TEXT[wire]}", _plain(results, wire, "tcp", "cpu_us", "µs", 1))
        for wire in ("W2", "W3", "W1")
        if wire in results.chosen("wires")
    ]
    return Panel("CPU per packet of TCP", "microseconds, both ends together; less is better", groups)


def _latency(results: Results) -> Panel:
    def group(heading: str, test: str) -> Group:
        def figure(peer: str) -> tuple[float, str, float | None] | None:
            middle, late = (results.median(_QUOTED, test, peer, key) for key in ("median_ms", "p99_ms"))
            if middle is None or late is None:
                return None
            return middle, f"{middle:.1f} ms, p99 {late:.1f}", late

        return Group(heading, _bars(results, _QUOTED, test, figure))

    groups = [group("while one TCP stream takes all it can get", "loaded"), group("idle", "ping")]
    return Panel("Ping through the tunnel", "milliseconds, the line ends at p99; W2; less is better", groups)


def _small(results: Results) -> Panel:
    bars = _plain(results, _QUOTED, "small", "kpps", "kpps", 1)
    return Panel("Small packets", "64 B UDP, thousands a second of 115 on offer; W2; more is better", [Group("", bars)])


def _loss(results: Results) -> Panel:
    # Of the whole offer: a tunnel that holds the sender back would otherwise look better than one that delivers more.
    def figure(peer: str) -> tuple[float, str, float | None] | None:
        arrived = results.median(_QUOTED, "udp", peer, "mbit")
        if arrived is None:
            return None
        missing = max(0.0, 100 * (1 - arrived / UDP_OFFERED))
        return missing, f"{missing:.1f} %", None

    remark = f"of {UDP_OFFERED} Mbit/s of 1272 B UDP on offer, what did not arrive; W2; less is better"
    return Panel("Loss", remark, [Group("", _bars(results, _QUOTED, "udp", figure))])


def _growth(results: Results) -> Panel:
    bars = []
    for count in range(1, 7):
        total = results.median(_QUOTED, "tunnels", OURS, f"sum{count}")
        share = results.median(_QUOTED, "tunnels", OURS, f"share{count}")
        if total is not None:
            even = f" ({share:.2f})" if share is not None and count > 1 else ""
            bars.append(Bar(OURS, f"{count} tunnel{'s' if count > 1 else ''}", total, f"{total:,.0f} Mbit/s{even}"))
    remark = f"mpquic, the sum (slowest as a share of the fastest), both ends on {results.about['cpus']} cores; W2"
    return Panel("Several tunnels at once", remark, [Group("", bars)])


def _wan(results: Results) -> Panel:
    groups = []
    for name, key in (("bulk", "bulk_ms"), ("critical (DSCP EF)", "critical_ms")):

        def figure(peer: str, key: str = key) -> tuple[float, str, float | None] | None:
            found = [results.median(_QUOTED, "wan", peer, f"{way}_{key}") for way in ("up", "down")]
            ways = [value for value in found if value is not None]
            return (max(ways), f"{max(ways):,.1f} ms", None) if ways else None

        groups.append(Group(name, _bars(results, _QUOTED, "wan", figure)))
    remark = "p99 of the delay that a full line adds, the worse direction; less is better"
    return Panel("Behind a WAN of 20 Mbit/s and 50 ms", remark, groups)
