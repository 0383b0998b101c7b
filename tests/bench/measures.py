# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured in one tunnel: functions from a tunnel to named figures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench import checksums, iperf, pings
from tests.bench.meter import cpu_seconds, rss_mb
from tests.bench.peers import MTU

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.peers import Tunnel

#: Figures of one measurement by name; units are in ``metrics.METRICS``.
Values = dict[str, float]

#: Bytes of TCP payload in a full packet: less IPv4 and TCP headers and the timestamp option.
TCP_PAYLOAD = MTU - 20 - 20 - 12
#: Bytes of UDP payload in a full packet, and Mbit/s of it on offer.
UDP_PAYLOAD = MTU - 20 - 8
UDP_OFFERED = 800
#: Bytes of a small packet's payload, and Mbit/s of it on offer: 115,000 packets a second.
SMALL_PAYLOAD = 64
SMALL_OFFERED = 59
#: Seconds without traffic before a daemon counts as idle, and seconds of looking at it.
_SETTLE, _IDLE = 3.0, 10.0


@dataclass(frozen=True)
class Place:
    """One tunnel to measure, a directory for files, and the seconds that one measurement takes."""

    tunnel: Tunnel
    where: Path
    seconds: float


def tcp(place: Place) -> Values:
    """One TCP stream from client to server."""
    return _flow(place, TCP_PAYLOAD)


def rtcp(place: Place) -> Values:
    """One TCP stream from server to client."""
    return _flow(place, TCP_PAYLOAD, "-R")


def udp(place: Place) -> Values:
    """Full UDP packets at a steady rate from client to server."""
    return _flow(place, UDP_PAYLOAD, "-u", "-b", f"{UDP_OFFERED}M", "-l", str(UDP_PAYLOAD), offered=UDP_OFFERED)


def small(place: Place) -> Values:
    """Small UDP packets at a steady rate from client to server."""
    return _flow(place, SMALL_PAYLOAD, "-u", "-b", f"{SMALL_OFFERED}M", "-l", str(SMALL_PAYLOAD), offered=SMALL_OFFERED)


def sha256(place: Place) -> Values:
    """Parallel flows both ways, every byte checked."""
    return {"mbit": checksums.transfer(place.tunnel, place.where)}


def ping(place: Place) -> Values:
    """Round-trip times while nothing else is carried."""
    times = pings.result(pings.start(place.tunnel, place.where, place.seconds), place.seconds)
    return {"median_ms": times.median, "p99_ms": times.p99, "lost": times.lost}


def loaded(place: Place) -> Values:
    """Round-trip times while one TCP stream takes all it can get."""
    with iperf.running(place.tunnel, place.where, place.seconds + 2) as client:
        time.sleep(1)  # let the stream get up to speed
        process = pings.start(place.tunnel, place.where, place.seconds)
        try:
            times = pings.result(process, place.seconds)
        finally:
            process.stop()
        flow = iperf.result(client, place.seconds + 2)
    return {"median_ms": times.median, "p99_ms": times.p99, "lost": times.lost, "mbit": flow.mbit}


def idle(place: Place) -> Values:
    """CPU and memory of the daemon that uses more of each, with no traffic but its own."""
    time.sleep(_SETTLE)
    pids = place.tunnel.pids
    before = [cpu_seconds([pid]) for pid in pids]
    time.sleep(_IDLE)
    used = [cpu_seconds([pid]) - start for pid, start in zip(pids, before, strict=True)]
    place.tunnel.expect_alive()
    return {"cpu_percent": max(used) / _IDLE * 100, "rss_mb": max(map(rss_mb, pids))}


def _flow(place: Place, payload: int, *options: str, offered: int = 0) -> Values:
    pids = place.tunnel.pids
    before = cpu_seconds(pids)
    flow = iperf.measure(place.tunnel, place.where, place.seconds, *options)
    used = cpu_seconds(pids) - before
    values = {"mbit": flow.mbit}
    if pids:
        values["cpu_us"] = used * 1e6 / (flow.bytes / payload)
    if flow.sent:
        values["kpps"] = flow.received / flow.seconds / 1000
        values["offered"] = 100 * flow.sent * payload * 8 / (place.seconds * 1e6) / offered
        values["loss_percent"] = max(0.0, 100 * (1 - flow.received / flow.sent))
    return values


SHARED: dict[str, Callable[[Place], Values]] = {
    "tcp": tcp,
    "rtcp": rtcp,
    "sha256": sha256,
    "udp": udp,
    "small": small,
    "ping": ping,
    "loaded": loaded,
    "idle": idle,
}
