# SPDX-License-Identifier: GPL-3.0-or-later
"""Each value that a daemon or a file says moves its own metrics, and no others."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.core.samples import RTT_BOUNDS
from mpquic.metrics.table import METRICS
from prometheus_client.parser import text_string_to_metric_families
from test_metrics_bounds import COMMON, PATH, PEER

if TYPE_CHECKING:
    from conftest import Host

FIGURES: dict[str, Any] = {
    "rtt_counts": [0] * (len(RTT_BOUNDS) + 1),
    **dict.fromkeys(
        ("rtt_total_s", "acknowledged", "judged", "queue_packets", "queue_bytes", "queue_age_s", "key_updates"), 1
    ),
}
ENTRY = {**PATH, "number": 1, "name": "wan1", "bind": "if:wan1", "outage_s": 1, "figures": FIGURES, "datagram": 1200}
SHARE = {"path": "wan1", "number": 1, "tx_packets": 1, "tx_bytes": 1, "rx_packets": 1, "rx_bytes": 1}
CLASS = {
    "name": "bulk",
    "policy": "balanced",
    **dict.fromkeys(("tx_packets", "tx_bytes", "tx_err", "tx_dups", "rx_packets", "rx_dups"), 1),
    "paths": [SHARE],
}
END = {"paths": [ENTRY], "classes": [CLASS], "reorder": {"waiting": 1, "held": 1, "given_up": 1}}
INSTANCE = {
    **COMMON,
    "tun": "mp1",
    "bind": "192.0.2.1",
    "version": "1",
    "config": "00",
    "mtu": 1300,
    "started_at": 1000,
    "reloads": {"done": 1, "failed": 1},
    **dict.fromkeys(("outage_s", "falls", "handshakes"), 1),
}
#: What the client and the server say, and what is in files, before something moves.
BEFORE: dict[str, Any] = {
    "client": {**INSTANCE, **END, "role": "client"},
    "server": {**INSTANCE, "role": "server", "refusals": {}, "peers": [{**PEER, **END, "name": "client1"}]},
    "watch.json": {"remaining": [], "repairs": [{"at": 1}]},
    "names.json": {"at": 1, "fault": None},
    "wans.json": {
        "at": 1,
        "wans": [
            {"wan": "lte", "tx_bytes": 1, "rx_bytes": 1, "quota_bytes": 10, "warned": None, "until": "2026-12-01"}
        ],
    },
}
BEFORE["server"]["peers"][0]["outage_s"] = 1
#: For each value, where it is, another one, and the metrics that then differ.
MOVES: tuple[tuple[str, object, set[str]], ...] = (
    ("client state", "connecting", {"tunnel_up", "tunnel_state"}),
    ("client since_s", 2, {"tunnel_state_age_seconds"}),
    ("client tun", "mp2", {"tunnel_info"}),
    ("client config", "01", {"tunnel_config_info"}),
    ("client mtu", 1400, {"tunnel_mtu_bytes"}),
    ("client started_at", 2000, {"tunnel_start_time_seconds"}),
    ("client outage_s", 2, {"tunnel_outage_seconds"}),
    ("client falls", 2, {"tunnel_outages"}),
    ("client handshakes", 2, {"tunnel_handshakes"}),
    ("client connects", 2, {"tunnel_connections"}),
    ("client reloads done", 2, {"tunnel_reloads"}),
    ("client reloads failed", 2, {"tunnel_reloads"}),
    ("client tx_packets", 8, {"tunnel_packets"}),
    ("client rx_packets", 8, {"tunnel_packets"}),
    ("client tx_bytes", 8, {"tunnel_bytes"}),
    ("client rx_bytes", 8, {"tunnel_bytes"}),
    ("client drops", {"source": 1}, {"tunnel_dropped_packets"}),
    ("server refusals", {"not_a_peer": 1}, {"tunnel_refusals"}),
    ("server peers 0 state", "waiting", {"peer_up"}),
    ("server peers 0 outage_s", 2, {"peer_outage_seconds"}),
    ("server peers 0 connects", 2, {"peer_connections"}),
    ("server peers 0 tx_packets", 8, {"peer_packets"}),
    ("server peers 0 rx_bytes", 8, {"peer_bytes"}),
    ("server peers 0 drops", {"source": 1}, {"peer_dropped_packets"}),
    ("client paths 0 state", "down", {"path_up", "path_state", "path_fault"}),
    ("client paths 0 state", "lossy", {"path_state"}),
    ("client paths 0 weight", 2, {"path_info"}),
    ("client paths 0 since_s", 2, {"path_state_age_seconds"}),
    ("client paths 0 outage_s", 2, {"path_outage_seconds"}),
    ("client paths 0 switches", 2, {"path_switches"}),
    ("client paths 0 tx_packets", 8, {"path_packets"}),
    ("client paths 0 rx_bytes", 8, {"path_bytes"}),
    ("client paths 0 drops", {"queue_age": 1}, {"path_dropped_packets"}),
    ("client paths 0 rtt_ms", 50.0, {"path_smoothed_rtt_seconds"}),
    ("client paths 0 loss", 0.5, {"path_loss_ratio"}),
    ("client paths 0 peer_loss", 0.5, {"path_loss_ratio"}),
    ("client paths 0 datagram", 1300, {"path_datagram_bytes"}),
    ("client paths 0 held_to_bps", 1000, {"path_breaker_open", "path_fault"}),
    ("client paths 0 figures rtt_counts 0", 1, {"path_rtt_seconds"}),
    ("client paths 0 figures judged", 2, {"path_judged_packets"}),
    ("client paths 0 figures acknowledged", 2, {"path_acknowledged_packets"}),
    ("client paths 0 figures queue_packets", 2, {"path_queue_packets"}),
    ("client paths 0 figures queue_bytes", 2, {"path_queue_bytes"}),
    ("client paths 0 figures queue_age_s", 2, {"path_queue_age_seconds"}),
    ("client paths 0 figures key_updates", 2, {"path_key_updates"}),
    ("server peers 0 classes 0 tx_err", 2, {"class_unsent_packets"}),
    ("server peers 0 classes 0 tx_dups", 2, {"class_copies"}),
    ("server peers 0 classes 0 rx_dups", 2, {"class_duplicates"}),
    ("server peers 0 classes 0 paths 0 tx_packets", 2, {"class_packets"}),
    ("client classes 0 paths 0 rx_bytes", 2, {"class_bytes"}),
    ("client reorder waiting", 2, {"reorder_waiting_packets"}),
    ("client reorder held", 2, {"reorder_held_packets"}),
    ("client reorder given_up", 2, {"reorder_gaps_given_up"}),
    ("watch.json remaining", [{"code": "rule_missing"}], {"host_drift_findings"}),
    ("watch.json repairs 0 at", 2, {"host_last_repair_timestamp_seconds"}),
    ("names.json fault", "the resolver 192.0.2.1 does not answer", {"host_resolver_up"}),
    ("wans.json at", 2, {"wan_counted_timestamp_seconds"}),
    ("wans.json wans 0 tx_bytes", 2, {"wan_billed_bytes"}),
    ("wans.json wans 0 quota_bytes", 11, {"wan_quota_bytes"}),
    ("wans.json wans 0 warned", 80, {"wan_quota_warned_ratio"}),
    ("wans.json wans 0 until", "2026-12-02", {"wan_period_end_timestamp_seconds"}),
)
#: What the exporter says of itself, and what needs more than one value: each has a test of its own.
ELSEWHERE = {
    "exporter_build_info",
    "exporter_collect_seconds",
    "exporter_dropped_series",
    "host_certificate_start_timestamp_seconds",
    "host_certificate_expiry_timestamp_seconds",
    "tunnel_answering",
    "tunnel_config_current",
}


def scraped(host: Host, said: dict[str, Any]) -> dict[str, set[object]]:
    """Return what is scraped when daemons and files say this: the samples of each metric, by its name without ends."""
    for name, content in said.items():
        if name.endswith(".json"):
            (host.places.run_dir / name).write_text(json.dumps(content))
        else:
            host.answers(name, content)
    return {
        family.name.removeprefix("mpquic_"): {
            (sample.name, frozenset(sample.labels.items()), sample.value) for sample in family.samples
        }
        for family in text_string_to_metric_families(host.page())
    }


@pytest.mark.parametrize(("where", "value", "metrics"), MOVES)
def test_a_value_moves_its_metrics(host: Host, where: str, value: object, metrics: set[str]) -> None:
    before, said = scraped(host, BEFORE), copy.deepcopy(BEFORE)
    assert {labels for name, labels, number in before["tunnel_answering"] if number == 0} == set()
    place: Any = said
    *keys, last = [int(key) if key.isdecimal() else key for key in where.split()]
    for key in keys:
        place = place[key]
    place[last] = value
    after = scraped(host, said)
    moved = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert moved - {"exporter_collect_seconds"} == metrics


def test_every_metric_is_moved() -> None:
    moved = set().union(*(metrics for _where, _value, metrics in MOVES))
    names = {metric.name.removeprefix("mpquic_").removesuffix("_total") for metric in METRICS}
    assert moved | ELSEWHERE == names
    assert not moved & ELSEWHERE
