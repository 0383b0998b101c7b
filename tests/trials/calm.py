# SPDX-License-Identifier: GPL-3.0-or-later
"""WANs that are slow, uneven or full, but not broken: no path may be left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.trials import load
from tests.trials.ends import ROLES, tunnel
from tests.trials.net import Quality, network
from tests.trials.outcome import Outcome
from tests.trials.streams import PLAIN, probes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trials.ends import Ends

_SECONDS = 20.0
#: A WAN of 10 Mbit/s with a buffer of half a second, and no key that says so.
_DEEP = Quality(rate_up=10, rate_down=10, delay=10, limit=625_000)
_UNEVEN = Quality(delay=40, jitter=30)


def full(folder: Path) -> Outcome:
    """Fill a WAN with a deep buffer both ways, with no rate configured: round trips grow twentyfold."""
    found = Outcome("no false alarm: deep buffer, full, no rate")
    with network(folder, [_DEEP] * 2) as net, tunnel(net, folder) as ends:
        _begin(ends)
        with load.bulk(ends, "-P", "8"), probes(ends, PLAIN):
            _watch(ends, found)
    return found


def uneven(folder: Path) -> Outcome:
    """Vary the delay of a WAN between 10 and 70 ms while packets are few."""
    found = Outcome("no false alarm: 40±30 ms one way")
    with network(folder, [_UNEVEN] * 2) as net, tunnel(net, folder) as ends:
        _begin(ends)
        with probes(ends, PLAIN):
            _watch(ends, found)
    return found


def _begin(ends: Ends) -> None:
    ends.set_paths(priority=[1, 2])
    ends.start()
    ends.wait_up()


def _watch(ends: Ends, found: Outcome) -> None:
    before = {role: ends.paths(role)["wan1"]["switches"] for role in ROLES}
    rtts = []
    for _second in range(int(_SECONDS)):
        time.sleep(1)
        rtts.append(ends.paths("client")["wan1"]["rtt_ms"] or 0.0)
    found.values["rtt_max_ms"] = max(rtts)
    for role in ROLES:
        switches = ends.paths(role)["wan1"]["switches"] - before[role]
        found.values[f"{role}_switches"] = switches
        told = [line for line in ends.log(role).splitlines() if " suspect " in line or " lossy " in line]
        found.expect(switches == 0, f"the {role} does not leave the path: {'; '.join(told)}")
