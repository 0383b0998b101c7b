# SPDX-License-Identifier: GPL-3.0-or-later
"""One to six tunnels at once: how the sum of their rates grows, and how evenly they share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.bench import iperf
from tests.bench.stats import least_share

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.measures import Values
    from tests.bench.peers import Peer, Tunnel
    from tests.bench.wires import Wire

#: As many as the six WANs of a large site.
MOST = 6
#: The more streams share the cores, the longer it takes until their shares say more than chance does.
_LONGER = 2


def measure(wire: Wire, peer: Peer, where: Path, seconds: float) -> Values:
    """Bring six tunnels up and give 1, 2, ... 6 of them one TCP stream each."""
    values: Values = {}
    with contextlib.ExitStack() as stack:
        tunnels = [stack.enter_context(peer.tunnel(wire.ends, where, number)) for number in range(1, MOST + 1)]
        for count in range(1, MOST + 1):
            rates = _together(tunnels[:count], where, seconds * _LONGER if count == MOST else seconds)
            values[f"sum{count}"] = sum(rates)
            values[f"share{count}"] = least_share(rates)
    return values


def _together(tunnels: list[Tunnel], where: Path, seconds: float) -> list[float]:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(iperf.running(tunnel, where, seconds)) for tunnel in tunnels]
        return [iperf.result(client, seconds).mbit for client in clients]
