# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as it would be found, for the parts that only look at figures."""

from __future__ import annotations

import pytest

from tests.bench.results import Results, Sample

WIRES, PEERS, TESTS = ["W2"], ["mpquic", "wireguard-go", "openvpn"], ["tcp", "rtcp"]


@pytest.fixture
def results() -> Results:
    """Return two rounds on W2: mpquic 1000 and 1200, wireguard-go 400, OpenVPN 500 Mbit/s."""
    about = {
        "date": "2030-01-02",
        "command": "python tests/bench",
        "rounds": 2,
        "seconds": 3,
        "wires": WIRES,
        "peers": PEERS,
        "tests": TESTS,
        "kernel": "6.1.0-1",
        "cpus": 2,
        "cpu": "a CPU",
        "python": "3.11",
        "versions": {"mpquic": "1.0"},
    }
    found = Results(about)
    rates = {"mpquic": (1000, 1200), "wireguard-go": (400, 400), "openvpn": (500, 500)}
    for number in (0, 1):
        for peer, both in rates.items():
            for test in TESTS:
                values = {"mbit": float(both[number]), "cpu_us": 12.5}
                found.samples.append(Sample(number + 1, "W2", peer, test, values))
    return found
