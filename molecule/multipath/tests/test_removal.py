# SPDX-License-Identifier: GPL-3.0-or-later
"""An entry that is deleted leaves nothing on either end, and nobody else notices."""

from __future__ import annotations

import re

import pytest
from conftest import instances, matching
from paths import ENDS, NAME, apply, ensure, others, recipe

TRACES = re.compile(r"\bmp1\b|10\.200\.17\.|fd6d:7071:1:1:|fd00:6:|\b47001\b|\b45017\b|172\.16\.6\.")
LOOKS = (
    "find /etc /run/mpquic -path '*mp1*'",
    "grep -rsE 'mp1\\b|10\\.200\\.17\\.|45017' /etc/mpquic /etc/systemd",
    "systemctl list-units --all --no-legend 'mpquic@*'",
    "ip -br address show dev mp1",
    "(ip rule; ip -6 rule) | grep 'proto 109'",
    "ip route show table all proto 109; ip -6 route show table all proto 109",
    "nft -s list table inet mpquic",
    "ss -Hun",
    "mpquic status --json",
)


def traces(host: str) -> list[str]:
    """Return every line about a host that names the tunnel, its addresses, port or table, or its LAN."""
    return matching(host, LOOKS, TRACES)


@pytest.fixture(scope="module")
def removed():
    """Delete the entry."""
    if NAME not in instances("client1"):
        ensure(recipe("Light balancing"))
    before = {"traces": {host: traces(host) for host in ENDS}, "others": others()}
    apply()
    return before


def test_nothing_of_it_remains_on_either_end(removed):
    assert all(len(found) > 5 for found in removed["traces"].values()), "there was nothing to be found before"
    assert {host: traces(host) for host in ENDS} == {host: [] for host in ENDS}


def test_the_others_did_not_notice(removed):
    assert others() == removed["others"]
