# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to say about the paths and classes of a tunnel: for its status, and as lines for the log."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mpquic.core.types import text
from mpquic.daemon.figures import path_figures, shares
from mpquic.daemon.status import counts, dropped, rtt_ms, since, told

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from mpquic.core.multipath.policy import PathSpec
    from mpquic.core.multipath.tally import ClassCounters
    from mpquic.core.path import Path

_LOG = logging.getLogger("mpquic")

#: What keeps a packet from leaving by its path, as it is counted in the drops of that path.
_UNSENT = (
    "no_connection",
    "too_big",
    "ipv6_narrow",
    "queue_full",
    "queue_age",
    "queue_delay",
    "udp_full",
    "udp_error",
    "udp_refused",
    "udp_too_big",
)


class Reporter:
    """Writes lines to the log every so often."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lines: Callable[[float], Sequence[str]]) -> None:
        """Write what ``lines(now)`` returns."""
        self._loop = loop
        self._lines = lines
        self._interval = 0
        self._timer: asyncio.TimerHandle | None = None

    def every(self, interval: int) -> None:
        """Write every ``interval`` seconds from now on, 0 for never."""
        if interval == self._interval:
            return
        self._interval = interval
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(interval, self._report) if interval else None

    def _report(self) -> None:
        if _LOG.isEnabledFor(logging.INFO):
            for line in self._lines(self._loop.time()):
                _LOG.info("%s", line)
        self._timer = self._loop.call_later(self._interval, self._report)


def describe_path(path: Path, spec: PathSpec, now: float) -> dict[str, Any]:
    """Return a path's entry in a status, to which its owner adds ``bind``, ``local`` and ``rate_bps``."""
    health, connection, counters = path.health, path.connection, path.counters
    assert health is not None
    limit = path.lane.limit
    return {
        "name": path.name,
        "number": path.number,
        "state": health.state.value,
        "reason": health.reason,
        "since_s": since(health.since, now),
        "priority": spec.priority,
        "weight": spec.weight,
        "remote": text(connection.peer) if connection is not None else None,
        "session": connection.session if connection is not None else None,
        "rtt_ms": rtt_ms(connection),
        "loss": round(health.loss, 4),
        "peer_state": health.peer.value if health.peer is not None else None,
        "peer_loss": round(health.peer_loss, 4),
        **counts(counters),
        "tx_err": path.tx_err + sum(counters.drops[reason] for reason in _UNSENT),
        "rx_err": path.rx_err,
        "consecutive_fails": health.fails,
        "switches": health.switches,
        "outage_s": round(health.outage.seconds(now), 3),
        "last_fault": told(health.fault, now),
        "last_up": _date(health.last_up, now),
        "last_down": _date(health.last_down, now),
        "datagram": connection.datagram_size if connection is not None else None,
        "mtu": path.fit.mtu,
        "held_to_bps": round(limit) if limit is not None else None,
        "drops": dropped(counters.drops),
        "figures": path_figures(path, now),
    }


def describe_class(counters: ClassCounters) -> dict[str, Any]:
    """Return a class's entry in a status."""
    return {
        "name": counters.name,
        "policy": counters.scheduling,
        "tx_packets": counters.tx_packets,
        "tx_bytes": counters.tx_bytes,
        "tx_err": counters.tx_err,
        "tx_dups": counters.tx_dups,
        "rx_packets": counters.rx_packets,
        "rx_dups": counters.rx_dups,
        "paths": shares(counters),
    }


def path_line(entry: Mapping[str, Any]) -> str:
    """Return the log line of a path's entry."""
    rtt = "-" if entry["rtt_ms"] is None else f"{entry['rtt_ms']:.1f}"
    return (
        f"path telemetry name={entry['name']} state={entry['state']}"
        f" tx_pkts={entry['tx_packets']} rx_pkts={entry['rx_packets']}"
        f" tx_err={entry['tx_err']} rx_err={entry['rx_err']} consecutiveFails={entry['consecutive_fails']}"
        f" last_up={entry['last_up'] or '-'} last_down={entry['last_down'] or '-'}"
        f" rtt_ms={rtt} loss={entry['loss']:.3f}"
    )


def class_line(entry: Mapping[str, Any]) -> str:
    """Return the log line of a class's entry."""
    return (
        f"class telemetry class={entry['name']} tx_pkts={entry['tx_packets']}"
        f" tx_err={entry['tx_err']} tx_dups={entry['tx_dups']}"
    )


def _date(at: float | None, now: float) -> str | None:
    """Return a time of the loop's clock as RFC 3339 has it."""
    if at is None:
        return None
    return datetime.fromtimestamp(time.time() - (now - at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
