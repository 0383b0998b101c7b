# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of metrics: names, labels and meaning. Everything else about metrics is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

TUNNEL = ("tunnel",)
PEER = ("tunnel", "peer")
PATH = ("tunnel", "peer", "path")
CLASS = ("tunnel", "peer", "class")
WAN = ("wan",)

#: What each label is, for the documentation.
LABELS = {
    "tunnel": "id of the instance, as in `mpquic status`",
    "peer": "at a server, the peer's name in its configuration; empty at a client",
    "path": "name of the path of a tunnel over several WANs; empty where a tunnel has one",
    "class": "name of the class of a tunnel over several WANs",
    "direction": "`sent` or `received`, seen from this host",
    "reason": "why, as in `drops` of `mpquic status --json`",
    "state": "the state that the value is about; exactly one has the value 1",
    "result": "`done` or `failed`",
    "role": "`client` or `server`",
    "tun": "name of the TUN device",
    "bind": "WAN: the interface or address that it is bound to",
    "version": "version of the program",
    "config": "SHA-256 of the configuration that runs",
    "file": "name of the file",
    "wan": "name of the WAN in the inventory",
    "code": "code of the finding or fault, as `mpquic watch`, `mpquic health` and `mpquic doctor` have it",
    "priority": "as configured",
    "weight": "as configured",
}
DIRECTIONS = ("sent", "received")
TUNNEL_STATES = ("up", "connecting", "waiting", "listening", "stopped", "down")
PATH_STATES = ("up", "probation", "lossy", "suspect", "connecting", "down")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``name`` is the whole name, a counter's with ``_total``."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    #: Unit of a dashboard's axis (Grafana's name), where it is not plain to see from the name.
    unit: str = "short"


def _counter(name: str, text: str, *labels: str, unit: str = "short") -> Metric:
    return Metric(f"mpquic_{name}_total", "counter", text, labels, unit)


def _gauge(name: str, text: str, *labels: str, unit: str = "short") -> Metric:
    return Metric(f"mpquic_{name}", "gauge", text, labels, unit)


_OUTAGE = "Seconds without it since the daemon started, before it was first up included."

METRICS = (
    # The exporter and the host.
    _gauge("exporter_build_info", "Always 1; says which version exports.", "version"),
    _gauge(
        "exporter_collect_seconds", "How long it took to ask all instances for the values of this scrape.", unit="s"
    ),
    _gauge("exporter_dropped_series", "Series left out of this scrape because there are too many."),
    _gauge("host_certificate_start_timestamp_seconds", "Since when the host's certificate is valid.", "file"),
    _gauge("host_certificate_expiry_timestamp_seconds", "Until when the host's certificate is valid.", "file"),
    _gauge("host_drift_findings", "What on the host is not as configured and was not repaired.", "code"),
    _gauge("host_last_repair_timestamp_seconds", "When the watch repaired something last; absent if it never did."),
    _gauge("host_resolver_up", "1 when a resolver of the host answers, else 0; absent where nobody asks."),
    # A WAN that is counted for its bill: only where the host has such a count.
    _gauge("wan_billed_bytes", "What the WAN has carried in this billing period.", *WAN, "direction", unit="bytes"),
    _gauge("wan_quota_bytes", "What it may carry in a period, both directions together.", *WAN, unit="bytes"),
    _gauge("wan_quota_warned_ratio", "Highest warning level that is reached; 0 below all, 1 when used up.", *WAN),
    _gauge("wan_period_end_timestamp_seconds", "When the next billing period begins.", *WAN),
    _gauge("wan_counted_timestamp_seconds", "When this was counted last.", *WAN),
    # A tunnel end: one instance.
    _gauge("tunnel_info", "Always 1; says what the instance is.", *TUNNEL, "role", "tun", "bind", "version"),
    _gauge("tunnel_config_info", "Always 1; says which configuration runs.", *TUNNEL, "config"),
    _gauge("tunnel_config_current", "1 when the configuration that runs is the one in its file, else 0.", *TUNNEL),
    _gauge("tunnel_answering", "1 when the daemon answers on its control socket, else 0.", *TUNNEL),
    _gauge("tunnel_up", "1 when the tunnel is up: at a server, to one peer at least.", *TUNNEL),
    _gauge("tunnel_state", "1 for the state that the tunnel is in, 0 for the others.", *TUNNEL, "state"),
    _gauge("tunnel_state_age_seconds", "For how long the tunnel has been in its state.", *TUNNEL, unit="s"),
    _gauge("tunnel_start_time_seconds", "When the daemon started, by the host's clock at that time.", *TUNNEL),
    _gauge("tunnel_mtu_bytes", "MTU of the TUN device.", *TUNNEL, unit="bytes"),
    _counter("tunnel_outage_seconds", _OUTAGE, *TUNNEL, unit="s"),
    _counter("tunnel_outages", "How often the tunnel was up and then no more.", *TUNNEL),
    _counter("tunnel_handshakes", "QUIC handshakes that were begun.", *TUNNEL),
    _counter("tunnel_connections", "Connections that became the tunnel, or a path of it.", *TUNNEL),
    _counter("tunnel_refusals", "Connections that the server refused.", *TUNNEL, "reason"),
    _counter("tunnel_reloads", "Times that the daemon was told to take over its file anew.", *TUNNEL, "result"),
    _counter("tunnel_packets", "Inner packets, each counted once.", *TUNNEL, "direction", unit="pps"),
    _counter("tunnel_bytes", "Bytes of inner packets, each counted once.", *TUNNEL, "direction", unit="Bps"),
    _counter("tunnel_dropped_packets", "What was refused, also by its peers and paths.", *TUNNEL, "reason", unit="pps"),
    # A peer of a server.
    _gauge("peer_up", "1 when the peer is connected, else 0.", *PEER),
    _counter("peer_outage_seconds", _OUTAGE, *PEER, unit="s"),
    _counter("peer_connections", "Connections of the peer that became its tunnel, or a path of it.", *PEER),
    _counter("peer_packets", "Inner packets to and from the peer.", *PEER, "direction", unit="pps"),
    _counter("peer_bytes", "Bytes of inner packets to and from the peer.", *PEER, "direction", unit="Bps"),
    _counter("peer_dropped_packets", "What was refused, also by the peer's paths.", *PEER, "reason", unit="pps"),
    # A path: one of several, or the only one.
    _gauge("path_info", "Always 1; says what the path is.", *PATH, "bind", "priority", "weight"),
    _gauge("path_up", "1 when the path carries packets: up, probation or lossy; else 0.", *PATH),
    _gauge("path_state", "1 for the state that the path is in, 0 for the others.", *PATH, "state"),
    _gauge("path_state_age_seconds", "For how long the path has been in its state.", *PATH, unit="s"),
    _counter("path_outage_seconds", _OUTAGE, *PATH, unit="s"),
    _counter("path_switches", "How often the path fell from up, so that its traffic had to go elsewhere.", *PATH),
    _counter("path_packets", "Packets by this path; of several, every copy counts.", *PATH, "direction", unit="pps"),
    _counter("path_bytes", "Bytes of packets by this path.", *PATH, "direction", unit="Bps"),
    _counter("path_dropped_packets", "What this path refused.", *PATH, "reason", unit="pps"),
    Metric("mpquic_path_rtt_seconds", "histogram", "Round trip times that acknowledgements showed.", PATH, "s"),
    _gauge("path_smoothed_rtt_seconds", "Smoothed round trip time; absent while it is not known.", *PATH, unit="s"),
    _counter("path_judged_packets", "QUIC packets sent of which it is known whether they arrived.", *PATH, unit="pps"),
    _counter("path_acknowledged_packets", "Those of them that arrived; the others were lost.", *PATH, unit="pps"),
    _gauge(
        "path_loss_ratio",
        "Share of the packets lost in the last seconds, as this end (sent) and the peer (received) measured it.",
        *PATH,
        "direction",
        unit="percentunit",
    ),
    _gauge("path_queue_packets", "Packets that wait to be sent.", *PATH),
    _gauge("path_queue_bytes", "Bytes of the packets that wait to be sent.", *PATH, unit="bytes"),
    _gauge("path_queue_age_seconds", "For how long the oldest of them has waited.", *PATH, unit="s"),
    _gauge("path_breaker_open", "1 while loss makes the circuit breaker hold the path to a rate, else 0.", *PATH),
    _counter("path_key_updates", "Key updates of the present connection.", *PATH),
    _gauge("path_fault", "1 while the path carries packets and has this fault, else 0.", *PATH, "code"),
    _gauge("path_datagram_bytes", "Largest UDP payload that the path was found to carry.", *PATH, unit="bytes"),
    # A class of a tunnel over several paths.
    _counter(
        "class_packets", "Packets of a class by a path; every copy counts.", *CLASS, "path", "direction", unit="pps"
    ),
    _counter("class_bytes", "Bytes of packets of a class by a path.", *CLASS, "path", "direction", unit="Bps"),
    _counter("class_unsent_packets", "Packets of a class for which there was no path.", *CLASS, unit="pps"),
    _counter("class_copies", "Copies of packets of a class that were sent in addition.", *CLASS, unit="pps"),
    _counter("class_duplicates", "Packets of a class that came again and were dropped.", *CLASS, unit="pps"),
    # Order between several paths.
    _gauge("reorder_waiting_packets", "Packets that wait for others which another path still carries.", *PEER),
    _counter("reorder_held_packets", "Packets that had to wait for others.", *PEER, unit="pps"),
    _counter("reorder_gaps_given_up", "Gaps that were not filled in time.", *PEER),
)

_BY_NAME = {metric.name: metric for metric in METRICS}


def metric(name: str) -> Metric:
    """Return the metric of this whole name. Raises KeyError for one that is not in the table."""
    return _BY_NAME[name]
