# SPDX-License-Identifier: GPL-3.0-or-later
"""What a status says beyond what people read in its table: figures for whoever counts, see mpquic.metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpquic.core.multipath.bundle import Bundle
    from mpquic.core.multipath.tally import ClassCounters
    from mpquic.core.path import Path


def path_figures(path: Path, now: float) -> dict[str, Any]:
    """Return what a path has measured since the daemon started, and what waits for it now.

    ``rtt_counts`` are samples of the round trip by mpquic.core.samples.RTT_BOUNDS. Of the QUIC packets that are
    ``judged``, those that are not ``acknowledged`` were lost. ``key_updates`` are those of the present connection.
    """
    samples, lane, connection = path.samples, path.lane, path.connection
    return {
        "rtt_counts": samples.rtts.counts,
        "rtt_total_s": round(samples.rtts.total, 6),
        "acknowledged": samples.acknowledged,
        "judged": samples.judged,
        "queue_packets": lane.waiting,
        "queue_bytes": lane.waiting_octets,
        "queue_age_s": round(lane.waited(now), 6),
        "key_updates": connection.key_updates if connection is not None else 0,
    }


def bundle_figures(bundle: Bundle) -> dict[str, int]:
    """Return what waits for packets that other paths still carry, and what did so since the daemon started."""
    reorder = bundle.reorder
    return {"waiting": reorder.waiting, "held": reorder.held, "given_up": reorder.given_up}


def shares(counters: ClassCounters) -> list[dict[str, Any]]:
    """Return what each path had of a class."""
    return [
        {
            "path": path.name,
            "number": path.number,
            "tx_packets": share.tx_packets,
            "tx_bytes": share.tx_bytes,
            "rx_packets": share.rx_packets,
            "rx_bytes": share.rx_bytes,
        }
        for path, share in counters.shares.items()
    ]
