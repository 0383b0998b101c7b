# SPDX-License-Identifier: GPL-3.0-or-later
"""A network that doubles and reorders datagrams: inside, each packet comes once."""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from typing import TYPE_CHECKING

import places
import pytest
from hosts import SERVER
from rough import Rough
from wan import ADDRESS, OTHER, OUTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from hosts import Hosts

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

RELAY = 45010
INSIDE = 7000
DOUBLED, LATE = 0.10, 0.05


def test_no_duplicate_inside(hosts: Hosts, figure: Callable[[str, object], None], *, full: bool) -> None:
    seconds, rate = (30, 1000) if full else (2, 500)
    hosts.configure("client", remote_port=RELAY)
    near = places.udp(hosts.ns["server"], (OUTER["server"], RELAY))
    far = places.udp(hosts.ns["server"], (OUTER["server"], 0), SERVER)
    with near, far, Rough(near, far, doubled=DOUBLED, late=LATE) as relay:
        hosts.bring_up()
        ends = {role: hosts.inner(role, INSIDE) for role in ADDRESS}
        arrived: dict[str, Counter[int]] = {role: Counter() for role in ADDRESS}
        sent = 0
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + seconds + 1:
            while sent < min(now - begin, seconds) * rate:
                for role, sock in ends.items():
                    sock.sendto(struct.pack(">Q", sent).ljust(200 + sent % 900), (ADDRESS[OTHER[role]], INSIDE))
                sent += 1
            for role, sock in ends.items():
                arrived[role].update(struct.unpack_from(">Q", data)[0] for data, _source in places.received(sock))
            time.sleep(0.001)
        count = relay.count
    figure("datagrams outside, doubled, late", tuple(count[kind] for kind in ("datagrams", "doubled", "late")))
    assert count["doubled"] > 0.8 * DOUBLED * count["datagrams"]
    assert count["late"] > 0.8 * LATE * count["datagrams"]
    for role, found in arrived.items():
        twice = sum(found.values()) - len(found)
        figure(f"packets to the {role}, arrived, duplicates", (sent, len(found), twice))
        assert twice == 0
        # Disorder is no loss either.
        assert len(found) == sent
    assert hosts.status("client")["connects"] == 1
