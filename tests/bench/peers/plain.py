# SPDX-License-Identifier: GPL-3.0-or-later
"""No tunnel at all: what the wire itself carries with packets of the same size."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from tests.bench.peers.base import MTU, Peer, Tunnel, carried, inner
from tests.bench.shell import run
from tests.bench.wires import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.wires import Ends


class Plain(Peer):
    """The wire, with a second pair of addresses whose route has the tunnels' MTU."""

    name = "veth"
    label = "plain veth"

    def version(self) -> str:
        """Return the kernel's."""
        return os.uname().release.split("-")[0]

    @contextlib.contextmanager
    def tunnel(self, ends: Ends, where: Path, number: int = 1, rate: str | None = None) -> Iterator[Tunnel]:
        """Add addresses and routes; there is nothing to run."""
        tunnel = Tunnel(ends, *inner(number))
        with contextlib.ExitStack() as stack:
            for namespace, mine in ((ends.client, tunnel.client_inner), (ends.server, tunnel.server_inner)):
                run("ip", "-n", namespace, "address", "add", f"{mine}/30", "dev", Wire.device)
                stack.callback(run, "ip", "-n", namespace, "address", "delete", f"{mine}/30", "dev", Wire.device)
                network = mine.rsplit(".", 1)[0] + ".0/30"
                run("ip", "-n", namespace, "route", "change", network, "dev", Wire.device, "src", mine, "mtu", str(MTU))
            with carried(tunnel):
                yield tunnel
