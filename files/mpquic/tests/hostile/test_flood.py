# SPDX-License-Identifier: GPL-3.0-or-later
"""Initials from a crowd of strangers: what they cost the server, an established tunnel and a newcomer."""

from __future__ import annotations

import os
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING

import places
import pytest
from flood import Flood, initials
from pinger import Pinger

if TYPE_CHECKING:
    from collections.abc import Callable

    from hosts import Hosts

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NEWCOMER = ip_network("10.200.9.77")
#: Growth of the server's memory (MB), of the 99th percentile of round trips (ms), seconds until a newcomer is in.
MAX_MEMORY, MAX_DELAY, MAX_WAIT = 50.0, 20.0, 2.0
#: What the allocator may keep of it in the end (MB).
SLACK = 8.0


def test_flood_of_initials(hosts: Hosts, figure: Callable[[str, object], None], *, full: bool) -> None:
    rate, seconds, quiet = (1000, 10, 5) if full else (300, 2, 0.5)
    hosts.know("newcomer", f"{NEWCOMER}")
    hosts.bring_up()
    server = hosts.status("server")["pid"]
    session = hosts.peer()["session"]
    datagrams = initials(rate * seconds, hosts.server_pin)
    with Pinger(hosts, quiet) as pinger:
        calm = pinger.echoes()
    before = peak = places.memory(server)
    flood = Flood(hosts, datagrams, rate)
    newcomer, waited = None, 0.0
    begin, begin_wall = time.monotonic(), time.time()
    with Pinger(hosts, seconds + quiet) as pinger:
        while not flood.over or (newcomer is not None and newcomer.registered is None):
            flood.step()
            now = time.monotonic()
            if newcomer is None and now > begin + seconds / 2:
                newcomer, called = hosts.caller("newcomer", NEWCOMER), now
            if newcomer is not None and newcomer.registered is None:
                newcomer.step()
                waited = time.monotonic() - called
                assert waited < 10
            peak = max(peak, places.memory(server))
            time.sleep(0.0005)
        end_wall = time.time()
        stormy = pinger.echoes()
    flood.step()
    flood.close()
    drops = hosts.status("server")["drops"]
    figure("Initials sent, per second", (flood.sent, round(flood.sent / (end_wall - begin_wall))))
    spread = round(flood.octets_back / flood.octets_sent, 3)
    stormy_p99 = stormy.percentile(0.99, begin_wall, end_wall)
    figure("answers, Retries among them, bytes back per byte", (flood.answers, flood.retries, spread))
    figure("server's drops", drops)
    figure("server's memory before, at most (MB)", (round(before, 1), round(peak, 1)))
    figure("p99 of a tunnel's round trip, calm and flooded (ms)", (calm.percentile(0.99), stormy_p99))
    figure("newcomer in after (s)", round(waited, 3))
    figure("echoes sent, lost", (stormy.sent, stormy.lost))
    assert newcomer is not None
    assert newcomer.registered is not None
    assert flood.sent == rate * seconds
    assert peak - before < MAX_MEMORY
    # An Initial of 1200 bytes asks for more than the server ever gives an address that is not proved.
    assert flood.octets_back < flood.octets_sent
    assert flood.retries > flood.sent / 2
    assert hosts.peer()["session"] == session
    assert stormy.lost == 0
    assert "Traceback" not in hosts.log("server")
    if not full:
        return
    assert stormy_p99 - calm.percentile(0.99) < MAX_DELAY
    assert waited < MAX_WAIT
    end = time.monotonic() + 60
    while time.monotonic() < end:
        newcomer.step()
        time.sleep(0.05)
    after = places.memory(server)
    figure("server's memory a minute later (MB)", round(after, 1))
    assert after - before < SLACK
