# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether parallel flows through a tunnel arrive as they were sent, in both directions at once."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import flows
from tests.bench.errors import BenchError
from tests.bench.meter import listens
from tests.bench.shell import Process, inside, last_line, started, wait_until

if TYPE_CHECKING:
    from tests.bench.peers.base import Tunnel

FLOWS = 3
#: Bytes of each flow in each direction.
SIZE = 16_000_000
_LONGEST = 60.0


def transfer(tunnel: Tunnel, where: Path) -> float:
    """Send all flows and return their rate in Mbit/s, both directions together. Raises BenchError for a wrong byte."""
    program = Path(flows.__file__)
    words = (tunnel.server_inner, str(FLOWS), str(SIZE))

    def end(side: str, namespace: str) -> Process:
        log = where / f"flows-{side}.log"
        return Process(f"flows {side}", inside(namespace, sys.executable, program, side, *words), log)

    with started(lambda: end("serve", tunnel.ends.server)) as (server,):
        wait_until(
            lambda: listens(server.pid, tunnel.server_inner, flows.PORT) or not server.alive(),
            10,
            "flows: does not listen",
        )
        server.expect_alive()
        begin = time.monotonic()
        with started(lambda: end("connect", tunnel.ends.client)) as (client,):
            for process, patience in ((client, _LONGEST), (server, 5)):
                if process.wait(patience):
                    raise BenchError(f"{process.name}: {last_line(process.output())}")
            seconds = time.monotonic() - begin
            compare(json.loads(client.output()), json.loads(server.output()))
    return 2 * FLOWS * SIZE * 8 / seconds / 1e6


def compare(client: dict[str, dict[str, str]], server: dict[str, dict[str, str]]) -> None:
    """Raise BenchError naming each flow and direction whose digests differ."""
    wrong = []
    for number in map(str, range(FLOWS)):
        for name, sender, receiver in (("to the server", client, server), ("to the client", server, client)):
            sent = sender.get(number, {}).get("sent", "nothing")
            received = receiver.get(number, {}).get("received", "nothing")
            if sent != received:
                why = received if received.startswith(("failed", "nothing")) else "other bytes"
                wrong.append(f"flow {number} {name}: {why}")
    if wrong:
        raise BenchError(f"sha256: {'; '.join(wrong)}")
