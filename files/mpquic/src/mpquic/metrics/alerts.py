# SPDX-License-Identifier: GPL-3.0-or-later
"""What is worth an alert, and what is computed in advance; ``{name}`` in an expression is a metric of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning"]

#: What the scrape job is called.
JOB = "mpquic"


@dataclass(frozen=True, slots=True)
class Recording:
    """A value that is computed in advance: dashboards and alerts use it."""

    name: str
    expression: str
    text: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert; ``since`` is for how long its expression must hold (a Prometheus duration).

    What stops or hampers packets now fires at once: how long to wait before somebody is woken is for Alertmanager
    (``group_wait``) to say.
    """

    name: str
    expression: str
    since: str
    severity: Severity
    summary: str
    #: Why it matters, and the command that tells more or mends it.
    meaning: str
    command: str


#: How a path is called in a summary. An empty label is none.
_TUNNEL = "tunnel {{ $labels.tunnel }} on {{ $labels.instance }}"
_WAN = "WAN {{ $labels.wan }} of {{ $labels.instance }}"
_PATH = (
    "{{ if $labels.path }}path {{ $labels.path }} of {{ end }}"
    "{{ if $labels.peer }}peer {{ $labels.peer }} of {{ end }}" + _TUNNEL
)

RECORDINGS = (
    Recording(
        "mpquic:path_loss:ratio_rate5m",
        "1 - rate({mpquic_path_acknowledged_packets_total}[5m]) / (rate({mpquic_path_judged_packets_total}[5m]) > 0)",
        "Share of the QUIC packets sent by a path that were lost.",
    ),
    Recording(
        "mpquic:path_rtt_seconds:mean5m",
        "rate({mpquic_path_rtt_seconds}_sum[5m]) / (rate({mpquic_path_rtt_seconds}_count[5m]) > 0)",
        "Mean round trip time of a path.",
    ),
    Recording(
        "mpquic:path_rtt_seconds:p95_5m",
        "histogram_quantile(0.95, rate({mpquic_path_rtt_seconds}_bucket[5m]))",
        "Round trip time of a path that 95 % of the samples stay below.",
    ),
    Recording("mpquic:path_bytes:rate5m", "rate({mpquic_path_bytes_total}[5m])", "Bytes per second by a path."),
    Recording("mpquic:tunnel_bytes:rate5m", "rate({mpquic_tunnel_bytes_total}[5m])", "Bytes per second of a tunnel."),
    Recording(
        "mpquic:class_bytes:rate5m",
        "sum without (path) (rate({mpquic_class_bytes_total}[5m]))",
        "Bytes per second of a class, by all paths.",
    ),
    Recording(
        "mpquic:path_availability:ratio1d",
        "1 - increase({mpquic_path_outage_seconds_total}[1d]) / 86400",
        "Share of the last day in which a path carried packets.",
    ),
)

ALERTS = (
    Alert(
        "MpquicExporterDown",
        f'up{{{{job="{JOB}"}}}} == 0',
        "2m",
        "critical",
        "no metrics from {{ $labels.instance }}",
        "The host is off, cannot be reached, or its exporter does not run. Nothing else is known of its tunnels.",
        "systemctl status mpquic-exporter",
    ),
    Alert(
        "MpquicDaemonSilent",
        "{mpquic_tunnel_answering} == 0",
        "0m",
        "critical",
        f"the daemon of {_TUNNEL} does not answer",
        "It does not run or hangs, so nothing passes the tunnel.",
        "systemctl status mpquic@{{ $labels.tunnel }}; mpquic health fix {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicTunnelDown",
        "{mpquic_tunnel_up} == 0 and {mpquic_tunnel_answering} == 1",
        "0m",
        "critical",
        f"{_TUNNEL} is down",
        "Its LAN has no way out: traffic is held back and leaves nowhere else.",
        "mpquic status {{ $labels.tunnel }}; mpquic health check {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicPeerDown",
        "{mpquic_peer_up} == 0 and on (instance, tunnel) {mpquic_tunnel_answering} == 1",
        "5m",
        "warning",
        f"peer {{{{ $labels.peer }}}} is not connected to {_TUNNEL}",
        "The client is off, has no WAN, or is refused. MpquicRefusals tells the last apart.",
        "mpquic status {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicPathDown",
        '{mpquic_path_up}{{path!=""}} == 0',
        "0m",
        "warning",
        f"{_PATH} is down",
        "The other paths carry its traffic as far as they can.",
        "mpquic status {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicPathFault",
        "{mpquic_path_fault} == 1",
        "0m",
        "warning",
        f"{_PATH} has the fault {{{{ $labels.code }}}}",
        "It carries packets, but not as it should: it loses them, is slow, or takes no large ones.",
        "mpquic doctor {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicPathFlapping",
        "increase({mpquic_path_switches_total}[10m]) > 3",
        "0m",
        "warning",
        f"{_PATH} comes and goes",
        "Each time its flows move or wait. A WAN that does so is better excluded until it is mended.",
        "journalctl -u mpquic@{{ $labels.tunnel }} --since -1h",
    ),
    Alert(
        "MpquicBlackHole",
        'sum without (direction) (rate({mpquic_path_packets_total}{{direction="sent"}}[2m])) > 1 and '
        'sum without (direction) (rate({mpquic_path_packets_total}{{direction="received"}}[2m])) == 0 and '
        "{mpquic_path_up} == 1",
        "2m",
        "critical",
        f"{_PATH} sends and receives nothing",
        "The path answers, but nobody answers what goes through it: look at routing and NAT behind the far end.",
        "mpquic explain; mpquic health check {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicPathLossy",
        "mpquic:path_loss:ratio_rate5m > 0.05 and rate({mpquic_path_judged_packets_total}[5m]) > 1",
        "2m",
        "warning",
        f"{_PATH} loses {{{{ $value | humanizePercentage }}}} of its packets",
        "TCP slows down from 1 % on, calls break up from 5 % on.",
        "mpquic status {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicLatencyRisen",
        "mpquic:path_rtt_seconds:mean5m > 0.1 and "
        "mpquic:path_rtt_seconds:mean5m > 3 * avg_over_time(mpquic:path_rtt_seconds:mean5m[1d])",
        "5m",
        "warning",
        f"the round trip of {_PATH} takes {{{{ $value | humanizeDuration }}}}",
        "That is more than three times as long as in the last day: the WAN is overloaded, or goes another way.",
        "mpquic status {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicPathMtuFell",
        "{mpquic_path_datagram_bytes} < max_over_time({mpquic_path_datagram_bytes}[1d])",
        "1m",
        "warning",
        f"{_PATH} carries datagrams of {{{{ $value }}}} bytes, and carried larger ones in the last day",
        "Something on the way carries less than it did. What does not fit is refused, and smaller packets cost more.",
        "mpquic doctor {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicQueueDrops",
        'sum without (reason) (rate({mpquic_path_dropped_packets_total}{{reason=~"queue_.*"}}[5m])) > '
        '0.02 * sum without (direction) (rate({mpquic_path_packets_total}{{direction="sent"}}[5m]))',
        "10m",
        "warning",
        f"{_PATH} is given more than it can carry",
        "More than 2 % of the packets are dropped before they are sent, for the rate of the path or its loss.",
        "mpquic status {{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicDrift",
        "{mpquic_host_drift_findings} > 0",
        "5m",
        "warning",
        "{{ $labels.instance }} is not as configured: {{ $labels.code }}",
        "Somebody changed the host, and the watch could not repair it.",
        "mpquic routing check; journalctl -u mpquic-watch",
    ),
    Alert(
        "MpquicRepaired",
        "time() - {mpquic_host_last_repair_timestamp_seconds} < 600",
        "0m",
        "warning",
        "{{ $labels.instance }} was not as configured, and was repaired",
        "Somebody or something on the host takes away what tunnels need. If it goes on, find out who.",
        "mpquic watch status; mpquic history --show events",
    ),
    Alert(
        "MpquicNoNames",
        "{mpquic_host_resolver_up} == 0",
        "0m",
        "warning",
        "no resolver of {{ $labels.instance }} answers",
        "Its users have no names if they use the same ones, and a server that has a name is not found again.",
        "cat /etc/resolv.conf; mpquic doctor",
    ),
    Alert(
        "MpquicQuotaLow",
        "{mpquic_wan_quota_warned_ratio} > 0 < 1",
        "0m",
        "warning",
        f"{_WAN} has used {{{{ $value | humanizePercentage }}}} of its quota or more",
        "What it carries until its next billing period may cost extra, or be slowed down by the provider.",
        "mpquic status",
    ),
    Alert(
        "MpquicQuotaUsedUp",
        "{mpquic_wan_quota_warned_ratio} >= 1",
        "0m",
        "critical",
        f"{_WAN} has used up its quota",
        "All that it carries until its next billing period costs extra, or is slowed down by the provider.",
        "mpquic status",
    ),
    Alert(
        "MpquicConfigDrift",
        "{mpquic_tunnel_config_current} == 0",
        "5m",
        "warning",
        f"{_TUNNEL} does not run what its file says",
        "The file was changed without a reload, or the reload failed: the next restart makes it another tunnel.",
        "mpquic check-config /etc/mpquic/instances/{{ $labels.tunnel }}.yaml",
    ),
    Alert(
        "MpquicReloadFailed",
        'increase({mpquic_tunnel_reloads_total}{{result="failed"}}[15m]) > 0',
        "0m",
        "warning",
        f"{_TUNNEL} could not take over its file",
        "It goes on with the configuration before. The journal says what is wrong.",
        "journalctl -u mpquic@{{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicCertificateExpires",
        "{mpquic_host_certificate_expiry_timestamp_seconds} - time() < 14 * 86400",
        "1h",
        "warning",
        "{{ $labels.file }} of {{ $labels.instance }} expires in {{ $value | humanizeDuration }}",
        "Peers that trust a CA refuse it then.",
        "ansible-playbook playbooks/rotate.yml",
    ),
    Alert(
        "MpquicDaemonRestarts",
        "changes({mpquic_tunnel_start_time_seconds}[15m]) > 2",
        "0m",
        "warning",
        f"the daemon of {_TUNNEL} starts again and again",
        "Each start costs the tunnel a moment. The journal says why it ends.",
        "journalctl -u mpquic@{{ $labels.tunnel }}",
    ),
    Alert(
        "MpquicRefusals",
        "sum without (reason) (increase({mpquic_tunnel_refusals_total}[10m])) > 10",
        "0m",
        "warning",
        f"{_TUNNEL} refuses clients",
        "A client has a wrong key or address, or somebody else tries.",
        "journalctl -u mpquic@{{ $labels.tunnel }} -g refused",
    ),
    Alert(
        "MpquicWrongKey",
        'increase({mpquic_tunnel_refusals_total}{{reason="not_a_peer"}}[5m]) > 0 '
        "and on (instance, tunnel) {mpquic_peer_up} == 0",
        "0m",
        "warning",
        f"{_TUNNEL} refuses a key that it does not know, and a peer of it is away",
        "Most likely that peer has another key than the plan says.",
        "mpquic doctor {{ $labels.tunnel }}; mpquic identity ensure --check (on the client)",
    ),
    Alert(
        "MpquicSeriesDropped",
        "{mpquic_exporter_dropped_series} > 0",
        "10m",
        "warning",
        "{{ $labels.instance }} has more series than are exported",
        "Part of its metrics is missing.",
        "mpquic exporter --once | sort | less",
    ),
)
