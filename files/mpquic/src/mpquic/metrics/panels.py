# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dashboard shows: rows from the site down to the peers, panels of the table's metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mpquic.metrics.table import PATH_STATES


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel; ``{name}`` in its expressions is a metric of the table, ``SELECTED`` what is chosen above."""

    title: str
    text: str
    kind: Literal["stat", "timeseries", "state-timeline", "heatmap"]
    #: Expression and legend of each query.
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    width: int = 12


_PATH = "{{instance}} {{tunnel}} {{peer}} {{path}}"
_TUNNEL = "{{instance}} {{tunnel}}"
_HOST = '{{instance=~"$instance"}}'
_QUOTA_USED = f"sum without (direction) ({{mpquic_wan_billed_bytes}}{_HOST}) / {{mpquic_wan_quota_bytes}}{_HOST}"

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Site",
        (
            Panel(
                "Tunnels up",
                "Of all that are configured.",
                "stat",
                (("sum({mpquic_tunnel_up}{{SELECTED}})", "up"),),
                width=4,
            ),
            Panel(
                "Tunnels down",
                "A LAN without a way out.",
                "stat",
                (("count({mpquic_tunnel_up}{{SELECTED}} == 0) or vector(0)", "down"),),
                width=4,
            ),
            Panel(
                "Paths down",
                "Others carry their traffic.",
                "stat",
                (("count({mpquic_path_up}{{SELECTED}} == 0) or vector(0)", "down"),),
                width=4,
            ),
            Panel(
                "Peers down",
                "As the servers see it.",
                "stat",
                (("count({mpquic_peer_up}{{SELECTED}} == 0) or vector(0)", "down"),),
                width=4,
            ),
            Panel(
                "Drift",
                "What is not as configured.",
                "stat",
                (
                    (
                        'sum({mpquic_host_drift_findings}{{instance=~"$instance"}}) or vector(0)',
                        "host",
                    ),
                    ("count({mpquic_tunnel_config_current}{{SELECTED}} == 0) or vector(0)", "files"),
                ),
                width=4,
            ),
            Panel(
                "Certificate",
                "Until the first one expires.",
                "stat",
                (
                    (
                        'min({mpquic_host_certificate_expiry_timestamp_seconds}{{instance=~"$instance"}}) - time()',
                        "left",
                    ),
                ),
                unit="s",
                width=4,
            ),
            Panel(
                "Traffic of tunnels",
                "Inner packets, each counted once; received is below zero.",
                "timeseries",
                (
                    (
                        'rate({mpquic_tunnel_bytes_total}{{SELECTED,direction="sent"}}[$__rate_interval])',
                        f"{_TUNNEL} sent",
                    ),
                    (
                        '-rate({mpquic_tunnel_bytes_total}{{SELECTED,direction="received"}}[$__rate_interval])',
                        f"{_TUNNEL} received",
                    ),
                ),
                unit="Bps",
            ),
            Panel(
                "Outages",
                "Seconds without the tunnel, per minute.",
                "timeseries",
                (("increase({mpquic_tunnel_outage_seconds_total}{{SELECTED}}[1m])", _TUNNEL),),
                unit="s",
            ),
        ),
    ),
    (
        "Paths",
        (
            Panel(
                "State",
                "Of every path: " + ", ".join(PATH_STATES) + ".",
                "state-timeline",
                (
                    (
                        " + ".join(
                            f'{at} * sum without (state) ({{mpquic_path_state}}{{{{SELECTED,state="{state}"}}}})'
                            for at, state in enumerate(PATH_STATES)
                            if at
                        ),
                        _PATH,
                    ),
                ),
                width=24,
            ),
            Panel(
                "Round trip",
                "95 % of the samples of five minutes stay below.",
                "timeseries",
                (("mpquic:path_rtt_seconds:p95_5m{{SELECTED}}", _PATH),),
                unit="s",
            ),
            Panel(
                "Loss",
                "Of the QUIC packets that left by a path.",
                "timeseries",
                (("mpquic:path_loss:ratio_rate5m{{SELECTED}}", _PATH),),
                unit="percentunit",
            ),
            Panel(
                "Round trips of all paths chosen",
                "How many samples took how long.",
                "heatmap",
                (("sum by (le) (increase({mpquic_path_rtt_seconds}_bucket{{SELECTED}}[$__rate_interval]))", "{{le}}"),),
                unit="s",
            ),
            Panel(
                "Traffic of paths",
                "Every copy counts; received is below zero.",
                "timeseries",
                (
                    ('rate({mpquic_path_bytes_total}{{SELECTED,direction="sent"}}[$__rate_interval])', f"{_PATH} sent"),
                    (
                        '-rate({mpquic_path_bytes_total}{{SELECTED,direction="received"}}[$__rate_interval])',
                        f"{_PATH} received",
                    ),
                ),
                unit="Bps",
            ),
            Panel(
                "Drops of paths",
                "By reason.",
                "timeseries",
                (("rate({mpquic_path_dropped_packets_total}{{SELECTED}}[$__rate_interval])", _PATH + " {{reason}}"),),
                unit="pps",
            ),
            Panel(
                "Queues",
                "For how long the oldest packet has waited.",
                "timeseries",
                (("{mpquic_path_queue_age_seconds}{{SELECTED}}", _PATH),),
                unit="s",
            ),
            Panel(
                "Switches",
                "How often a path fell from up, in ten minutes.",
                "timeseries",
                (("increase({mpquic_path_switches_total}{{SELECTED}}[10m])", _PATH),),
            ),
            Panel(
                "Availability",
                "Share of the last day in which a path carried packets.",
                "timeseries",
                (("mpquic:path_availability:ratio1d{{SELECTED}}", _PATH),),
                unit="percentunit",
            ),
        ),
    ),
    (
        "Classes",
        (
            Panel(
                "Traffic of classes",
                "By path; every copy counts.",
                "timeseries",
                (
                    (
                        "rate({mpquic_class_bytes_total}{{SELECTED}}[$__rate_interval])",
                        "{{tunnel}} {{peer}} {{class}} {{path}} {{direction}}",
                    ),
                ),
                unit="Bps",
            ),
            Panel(
                "Copies and what came twice",
                "What duplication costs, and what it was good for.",
                "timeseries",
                (
                    ("rate({mpquic_class_copies_total}{{SELECTED}}[$__rate_interval])", "{{tunnel}} {{class}} copies"),
                    (
                        "rate({mpquic_class_duplicates_total}{{SELECTED}}[$__rate_interval])",
                        "{{tunnel}} {{peer}} {{class}} duplicates",
                    ),
                ),
                unit="pps",
            ),
            Panel(
                "Order",
                "Packets that had to wait for others, and gaps that stayed.",
                "timeseries",
                (
                    ("rate({mpquic_reorder_held_packets_total}{{SELECTED}}[$__rate_interval])", _TUNNEL + " held"),
                    ("rate({mpquic_reorder_gaps_given_up_total}{{SELECTED}}[$__rate_interval])", _TUNNEL + " given up"),
                ),
                unit="pps",
            ),
        ),
    ),
    (
        "Metered WANs",
        (
            Panel(
                "Used of the quota",
                "In this billing period, both directions together.",
                "timeseries",
                ((_QUOTA_USED, "{{instance}} {{wan}}"),),
                unit="percentunit",
            ),
            Panel(
                "Carried",
                "In this billing period.",
                "timeseries",
                (("{mpquic_wan_billed_bytes}" + _HOST, "{{instance}} {{wan}} {{direction}}"),),
                unit="bytes",
            ),
        ),
    ),
    (
        "Peers and daemons",
        (
            Panel(
                "Peers",
                "1 while a peer is connected.",
                "timeseries",
                (("{mpquic_peer_up}{{SELECTED}}", "{{tunnel}} {{peer}}"),),
            ),
            Panel(
                "Refusals",
                "Clients that were told no, in ten minutes.",
                "timeseries",
                (("increase({mpquic_tunnel_refusals_total}{{SELECTED}}[10m])", _TUNNEL + " {{reason}}"),),
            ),
            Panel(
                "Handshakes and connections",
                "Begun, and those that became a tunnel or a path of it, in ten minutes.",
                "timeseries",
                (
                    ("increase({mpquic_tunnel_handshakes_total}{{SELECTED}}[10m])", _TUNNEL + " begun"),
                    ("increase({mpquic_tunnel_connections_total}{{SELECTED}}[10m])", _TUNNEL + " done"),
                ),
            ),
            Panel(
                "Age of daemons",
                "Since they started.",
                "timeseries",
                (("time() - {mpquic_tunnel_start_time_seconds}{{SELECTED}}", _TUNNEL),),
                unit="s",
            ),
        ),
    ),
)
