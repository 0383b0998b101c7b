# SPDX-License-Identifier: GPL-3.0-or-later
"""What figures of a connection that is up are called wrong, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from mpquic.io.symptoms import loss, symptoms

GOOD: dict[str, Any] = {
    "rtt_ms": 40.0,
    "datagram": 1472,
    "held_to_bps": None,
    "recent": {"loss": 0.0, "judged": 100, "rtt_ms": 42.0, "rtt_best_ms": 38.0, "datagram_best": 1472},
}


def codes(**changes: Any) -> list[str]:
    recent = {key: value for key, value in changes.items() if key in GOOD["recent"] and not key.startswith("top_")}
    top = {key.removeprefix("top_"): value for key, value in changes.items() if key not in recent}
    return [found.code for found in symptoms(GOOD | top | {"recent": GOOD["recent"] | recent})]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"loss": 0.2, "judged": 30}, ["loss"]),
        # One of ten may be chance.
        ({"loss": 0.1, "judged": 10}, []),
        ({"loss": 0.5, "judged": 4}, []),
        ({"top_loss": 0.3}, ["loss"]),
        ({"top_peer_loss": 0.3}, ["loss"]),
        ({"rtt_ms": 340.0, "top_rtt_ms": 330.0}, ["rtt_high"]),
        # A single late packet, and a mean that remembers the past.
        ({"rtt_ms": 340.0}, []),
        ({"top_rtt_ms": 340.0}, []),
        ({"rtt_ms": 80.0, "top_rtt_ms": 80.0}, []),
        ({"datagram_best": 1500}, ["mtu_fell"]),
        ({"top_held_to_bps": 1_000_000}, ["held"]),
    ],
)
def test_what_is_wrong(changes: dict[str, Any], expected: list[str]) -> None:
    assert codes(**changes) == expected


def test_a_daemon_of_an_earlier_release() -> None:
    old = {key: value for key, value in GOOD.items() if key != "recent"}
    assert list(symptoms(old)) == []
    assert loss(old) is None
