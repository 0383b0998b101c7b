# SPDX-License-Identifier: GPL-3.0-or-later
"""Round-trip times through a tunnel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.errors import BenchError
from tests.bench.shell import Process, inside
from tests.bench.stats import median, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.peers.base import Tunnel

#: Seconds between two pings.
INTERVAL = 0.02
_TIME = re.compile(r"icmp_seq=(\d+) .*time=([\d.]+) ms")
_SENT = re.compile(r"(\d+) packets transmitted")


@dataclass(frozen=True)
class Times:
    """Round-trip times in ms, and how many pings were lost."""

    values: Sequence[float]
    lost: int

    @property
    def median(self) -> float:
        """Half are faster."""
        return median(self.values)

    @property
    def p99(self) -> float:
        """One in a hundred is slower."""
        return percentile(self.values, 99)


def start(tunnel: Tunnel, where: Path, seconds: float, dscp: int = 0) -> Process:
    """Start to ping the server from the client for some seconds; ``dscp`` is the class of the packets (RFC 2474)."""
    words = ("ping", "-n", "-i", str(INTERVAL), "-w", f"{seconds:.0f}", "-Q", str(dscp << 2), tunnel.server_inner)
    return Process("ping", inside(tunnel.ends.client, *words), where / f"ping-{dscp}.log")


def result(ping: Process, seconds: float) -> Times:
    """Wait for its end and read the times. Raises BenchError when none came back."""
    ping.wait(seconds + 5)
    return parse(ping.output())


def parse(output: str) -> Times:
    """Read what ping(8) printed; a duplicate counts once. Raises BenchError when nothing came back."""
    times = {number: float(value) for number, value in _TIME.findall(output)}
    sent = _SENT.search(output)
    if not times or sent is None:
        raise BenchError("ping: no answer")
    return Times(list(times.values()), int(sent[1]) - len(times))
