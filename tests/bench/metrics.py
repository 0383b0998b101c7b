# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures: their order in tables, their names and units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Metric:
    """One figure of one test."""

    test: str
    key: str
    text: str
    unit: str
    digits: int = 0
    #: Whether the line that is printed while the benchmark runs shows it.
    brief: bool = True

    def format(self, value: float) -> str:
        """Return the number without its unit."""
        return f"{value:.{self.digits}f}"


METRICS = (
    Metric("tcp", "mbit", "TCP to the server", "Mbit/s"),
    Metric("tcp", "cpu_us", "CPU per packet, TCP to the server", "µs", 1),
    Metric("rtcp", "mbit", "TCP to the client", "Mbit/s"),
    Metric("rtcp", "cpu_us", "CPU per packet, TCP to the client", "µs", 1),
    Metric("sha256", "mbit", "six flows with checked bytes", "Mbit/s"),
    Metric("udp", "mbit", "UDP of 1272 B, 800 Mbit/s on offer", "Mbit/s"),
    Metric("udp", "offered", "of which the sender got out", "%", 0, brief=False),
    Metric("udp", "loss_percent", "its loss", "%", 1),
    Metric("udp", "cpu_us", "its CPU per packet", "µs", 1),
    Metric("small", "kpps", "UDP of 64 B, 115,000 packets/s on offer", "kpps", 1),
    Metric("small", "offered", "of which the sender got out", "%", 0, brief=False),
    Metric("small", "loss_percent", "its loss", "%", 1, brief=False),
    Metric("small", "cpu_us", "its CPU per packet", "µs", 1),
    Metric("ping", "median_ms", "ping, idle: median", "ms", 2),
    Metric("ping", "p99_ms", "ping, idle: p99", "ms", 2),
    Metric("loaded", "median_ms", "ping under a TCP stream: median", "ms", 2),
    Metric("loaded", "p99_ms", "ping under a TCP stream: p99", "ms", 2),
    Metric("loaded", "mbit", "the TCP stream meanwhile", "Mbit/s"),
    Metric("idle", "cpu_percent", "idle daemon: CPU", "% of a core", 3),
    Metric("idle", "rss_mb", "idle daemon: memory", "MB", 1),
    *(
        metric
        for count in range(1, 7)
        for metric in (
            Metric("tunnels", f"sum{count}", f"{count} tunnel{'s' if count > 1 else ''} at once: sum", "Mbit/s"),
            Metric("tunnels", f"share{count}", "slowest as a share of the fastest", "", 2, brief=count == 6),
        )
        if count > 1 or metric.key == "sum1"
    ),
    Metric("wan", "idle_ms", "slow WAN: ping, idle", "ms", 1, brief=False),
    Metric("wan", "idle_p99_ms", "its p99", "ms", 1, brief=False),
    Metric("wan", "up_mbit", "slow WAN: TCP to the server", "Mbit/s", 1),
    Metric("wan", "up_bulk_ms", "added to bulk (p99)", "ms", 1),
    Metric("wan", "up_critical_ms", "added to critical (p99)", "ms", 1),
    Metric("wan", "down_mbit", "slow WAN: TCP to the client", "Mbit/s", 1),
    Metric("wan", "down_bulk_ms", "added to bulk (p99)", "ms", 1),
    Metric("wan", "down_critical_ms", "added to critical (p99)", "ms", 1),
    Metric("added", "bulk_us", "two paths add to a packet of bulk", "µs", 2),
    Metric("added", "small_us", "to small packets of one flow", "µs", 2),
    Metric("added", "mixed_us", "to small packets, each of another flow", "µs", 2),
)


def summary(test: str, values: Mapping[str, float]) -> str:
    """Return the figures of one measurement in one line."""
    shown = [metric for metric in METRICS if metric.test == test and metric.brief and metric.key in values]
    return ", ".join(f"{metric.format(values[metric.key])} {metric.unit}".strip() for metric in shown)


def unit(test: str, key: str) -> str:
    """Return the unit of a figure as it follows the number."""
    found = next(metric.unit for metric in METRICS if (metric.test, metric.key) == (test, key))
    return f" {found}" if found else ""
