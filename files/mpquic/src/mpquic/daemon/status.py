# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tunnel is like, as values for ``mpquic status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.core.types import text

if TYPE_CHECKING:
    from collections import Counter

    from mpquic.core.connection import Connection
    from mpquic.core.port import Tunnel
    from mpquic.core.state import Fault
    from mpquic.core.types import Counters


def tunnel_entry(tunnel: Tunnel, now: float) -> dict[str, Any]:
    """Return what one end of a tunnel says of itself; what its connection says only as long as that is up."""
    connection = tunnel.connection if tunnel.state == "up" else None
    totals = tunnel.totals()
    return {
        "state": tunnel.state,
        "reason": tunnel.reason,
        "since_s": since(tunnel.since, now),
        "session": tunnel.session,
        "connects": tunnel.connects,
        "handshakes": tunnel.handshakes,
        "outage_s": round(tunnel.outage.seconds(now), 3),
        "falls": tunnel.outage.falls,
        "last_fault": told(tunnel.fault, now),
        "datagram": connection.datagram_size if connection is not None else None,
        "remote": text(connection.peer) if connection is not None else None,
        "held_to_bps": round(tunnel.limit) if tunnel.limit is not None else None,
        "rtt_ms": rtt_ms(connection),
        "key_updates": connection.key_updates if connection is not None else None,
        **counts(totals),
        "drops": dropped(totals.drops),
    }


def counts(counters: Counters) -> dict[str, int]:
    """Return what was carried."""
    return {
        "tx_packets": counters.tx_packets,
        "rx_packets": counters.rx_packets,
        "tx_bytes": counters.tx_bytes,
        "rx_bytes": counters.rx_bytes,
    }


def dropped(drops: Counter[str]) -> dict[str, int]:
    """Return what was refused, by reason."""
    return {reason: count for reason, count in sorted(drops.items()) if count}


def told(fault: Fault | None, now: float) -> dict[str, Any] | None:
    """Return why something was last not as it should be, and how long ago that began."""
    return None if fault is None else {"reason": fault.reason, "ago_s": since(fault.at, now)}


def since(then: float, now: float) -> float:
    """Return how long ago that was (seconds)."""
    return round(max(0.0, now - then), 3)


def rtt_ms(connection: Connection | None) -> float | None:
    """Return the smoothed round trip of a connection in milliseconds, None while it is not known."""
    rtt = connection.clock.srtt if connection is not None else None
    return round(rtt * 1000, 3) if rtt is not None else None
