# SPDX-License-Identifier: GPL-3.0-or-later
"""Latency behind a slow WAN: what bulk transfers add to the round trips of its own class and of a critical one."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from tests.bench import iperf, pings
from tests.bench.peers import OURS
from tests.bench.peers.mpquic import expect_rate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.measures import Values
    from tests.bench.peers import Peer, Tunnel
    from tests.bench.wires import Wire

#: What the path's key ``rate`` says: a little less than the line carries, so that packets wait in the daemon.
RATE = "19mbit"
#: Differentiated services code points: expedited forwarding (RFC 3246), and the default.
CRITICAL, BULK = 46, 0
#: TCP streams of the bulk transfer: enough to fill whatever buffer the line has.
_STREAMS = 4
#: Seconds of idle pings, seconds for the stream to fill the line, least seconds of pings under load.
_IDLE, _FILL, _LOADED = 3.0, 3.0, 8.0


def prepare(where: Path) -> None:
    """Raise UnavailableError when the daemon cannot be told a rate."""
    expect_rate(where, RATE)


def measure(wire: Wire, peer: Peer, where: Path, seconds: float) -> Values:
    """Load the WAN in one direction, then in the other."""
    values: Values = {}
    rate = RATE if peer.name == OURS else None
    with wire.wan(where) as ends, peer.tunnel(ends, where, rate=rate) as tunnel:
        idle = pings.result(pings.start(tunnel, where, _IDLE), _IDLE)
        calm = idle.median
        values |= {"idle_ms": calm, "idle_p99_ms": idle.p99}
        for direction, options in (("up", ()), ("down", ("-R",))):
            flow, bulk, critical = _loaded(tunnel, where, max(_LOADED, seconds), options)
            values[f"{direction}_mbit"] = flow.mbit
            values[f"{direction}_bulk_ms"] = max(0.0, bulk.p99 - calm)
            values[f"{direction}_critical_ms"] = max(0.0, critical.p99 - calm)
    return values


def _loaded(
    tunnel: Tunnel, where: Path, seconds: float, options: tuple[str, ...]
) -> tuple[iperf.Flow, pings.Times, pings.Times]:
    whole = _FILL + seconds + 1
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(iperf.running(tunnel, where, whole, "-P", str(_STREAMS), *options))
        time.sleep(_FILL)
        both = [pings.start(tunnel, where, seconds, dscp) for dscp in (BULK, CRITICAL)]
        for process in both:
            stack.callback(process.stop)
        bulk, critical = (pings.result(process, seconds) for process in both)
        return iperf.result(client, whole), bulk, critical
