# SPDX-License-Identifier: GPL-3.0-or-later
"""What a path costs that carries nothing: bytes on real interfaces between a real client and a real server.

``python -m pytest -s files/mpquic/tests/daemon/test_netns_idle.py`` says the figures of docs/quota.md.
"""

from __future__ import annotations

import sys
import time

import pytest
from multiwan import MultiWan
from wan import made, sh

pytestmark = [pytest.mark.netns, pytest.mark.slow]

#: Seconds in which bytes are counted, and bytes of an Ethernet header.
SPAN = 60.0
HEADER = 14
PATHS = ({"priority": 1}, {"priority": 2}, {"priority": 3, "ping_interval": 20})


def carried(wan: MultiWan, number: int) -> int:
    """Return the bytes of IP packets that an interface has carried, both ways."""
    names = ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")
    files = " ".join(f"/sys/class/net/{wan.wans[number - 1]}/statistics/{name}" for name in names)
    counts = sh(f"ip netns exec {wan.ns['client']} cat {files}").stdout.split()
    rx, tx, rx_packets, tx_packets = map(int, counts)
    return rx + tx - HEADER * (rx_packets + tx_packets)


def test_an_idle_path_costs_what_the_docs_say() -> None:
    with made(MultiWan(len(PATHS))) as wan:
        assert isinstance(wan, MultiWan)
        wan.paths(*PATHS)
        wan.bring_up()
        # The beginning is dearer: pings, the search for the path MTU, what the kernel's own protocols say.
        time.sleep(15)
        before = [carried(wan, number) for number in (1, 2, 3)]
        began = time.monotonic()
        time.sleep(SPAN)
        after = [carried(wan, number) for number in (1, 2, 3)]
        seconds = time.monotonic() - began
        states = [path["state"] for path in wan.status("client")["paths"]]
    rates = [(late - early) / seconds * 3600 for early, late in zip(before, after, strict=True)]
    for name, rate in zip(("with the reports, every 1 s", "every 1 s", "every 20 s"), rates, strict=True):
        sys.stdout.write(f"idle path, pings {name}: {rate / 1e6:.3f} MB an hour\n")
    assert states == ["up", "up", "up"]
    assert 300_000 < rates[1] < 600_000
    assert rates[2] < rates[1] / 4
