# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a daemon or a peer says, a scrape is whole, well-formed and of bounded size."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpquic.metrics import bounds
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from conftest import Host

CARRIED = dict.fromkeys(("tx_packets", "rx_packets", "tx_bytes", "rx_bytes"), 7)
COMMON: dict[str, Any] = {
    "state": "up",
    "reason": "",
    "since_s": 1,
    "session": None,
    "connects": 1,
    "remote": None,
    "rtt_ms": 40.0,
    "drops": {},
    **CARRIED,
}
PATH: dict[str, Any] = {
    **COMMON,
    **dict.fromkeys(("peer_state", "last_up", "last_down", "datagram", "rate_bps", "held_to_bps", "bind", "local")),
    **dict.fromkeys(
        ("priority", "weight", "loss", "peer_loss", "tx_err", "rx_err", "consecutive_fails", "switches"), 1
    ),
}
PEER: dict[str, Any] = {**COMMON, "address": "10.0.0.1", "allowed": [], "shared": [], "outer_dscp": 0, "key": None}
PEER["legacy"] = False


def path(number: int, name: str) -> dict[str, Any]:
    return {**PATH, "number": number, "name": name}


def server(*peers: dict[str, Any]) -> dict[str, Any]:
    return {**COMMON, "role": "server", "tun": "mt1", "peers": list(peers)}


def series(text: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Return labels and values; each set of labels comes once."""
    found = [
        (dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]
    assert max(Counter(str(labels) for labels, _value in found).values(), default=1) == 1
    return found


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"nonsense\n",
        b"[1, 2]\n",
        b"[" * 100_000 + b"\n",
        b'{"state": 1}\n',
        b'{"state": "up", "paths": [{}]}\n',
        b'{"state": "up", "peers": [1]}\n',
        b'{"state": "up", "figures": {"rtt_counts": ["a"]}}\n',
        b'{"state": "up", "tx_bytes": -1}\n',
        b'{"state": "up", "started_at": NaN}\n',
        b'{"error": "no"}\n',
        None,
    ],
)
def test_who_answers_nonsense_is_not_answering(host: Host, answer: bytes | None) -> None:
    host.answers("1", answer)
    host.answers("2", {**COMMON, "role": "client"})
    begin = time.monotonic()
    text = host.page()
    assert time.monotonic() - begin < 5
    assert {labels["tunnel"]: number for labels, number in series(text, "mpquic_tunnel_answering")} == {
        "1": 0,
        "2": 1,
    }


def test_several_that_hang_take_no_longer_than_one(host: Host) -> None:
    for number in range(8):
        host.answers(str(number), None)
    begin = time.monotonic()
    assert len(series(host.page(), "mpquic_tunnel_answering")) == 8
    assert time.monotonic() - begin < 4


_TEXTS = st.text(max_size=80)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*COMMON, "figures", "paths", "peers", "refusals", "reloads", "role", "held_to_bps"]), _JSON)
def test_any_field_may_be_anything(host: Host, field: str, value: Any) -> None:
    host.answers("1", json.dumps({**COMMON, "role": "client", field: value}).encode() + b"\n")
    list(text_string_to_metric_families(host.page()))


def test_labels_are_escaped_and_cut(host: Host) -> None:
    name = 'a"b\\c\n' + "x" * 200
    host.answers("1", server({**PEER, "name": name}))
    labels = series(host.page(), "mpquic_peer_up")[0][0]
    assert labels["peer"] == name.replace("\n", "?")[: bounds.MAX_LABEL]


def test_a_peer_that_renames_its_paths_gets_numbers(host: Host) -> None:
    seen = set()
    for turn in range(120):
        host.answers("1", server({**PEER, "name": "ship", "paths": [path(1, f"a{turn}"), path(2, f"b{turn}")]}))
        seen |= {labels["path"] for labels, _value in series(host.page(), "mpquic_path_up")}
    assert {"a0", "b0", "#1", "#2"} <= seen
    assert len(seen) <= bounds.MAX_NAMES + 2


def test_two_paths_of_one_name_are_one_series(host: Host) -> None:
    host.answers("1", {**COMMON, "role": "client", "paths": [path(1, "wan"), path(2, "wan")]})
    text = host.page()
    assert len(series(text, "mpquic_path_up")) == 1
    assert series(text, "mpquic_exporter_dropped_series")[0][1] > 0


def test_invented_reasons_are_others(host: Host) -> None:
    drops = {f"reason_{number}": 1 for number in range(200)} | {"Not A Reason": 5}
    host.answers("1", {**COMMON, "role": "client", "drops": drops})
    found = {labels["reason"]: number for labels, number in series(host.page(), "mpquic_tunnel_dropped_packets_total")}
    assert len(found) <= bounds.MAX_REASONS + 1
    assert sum(found.values()) == 205


def test_all_series_together_are_bounded(host: Host) -> None:
    paths = [path(number, f"wan{number}") for number in range(1, 256)]
    peers = [{**PEER, "name": f"ship{number}", "paths": paths} for number in range(40)]
    host.answers("1", server(*peers))
    host.answers("2", server({**PEER, "name": "boat"}))
    text = host.page()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) <= bounds.MAX_SERIES
    # Who has too many takes nothing from the others.
    assert "boat" in {labels["peer"] for labels, _value in series(text, "mpquic_peer_up")}
    assert series(text, "mpquic_exporter_dropped_series")[0][1] > 0
