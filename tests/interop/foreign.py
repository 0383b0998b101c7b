# SPDX-License-Identifier: GPL-3.0-or-later
"""Foreign peers as processes: what to run, where it listens, what it reports."""

from __future__ import annotations

import json
import os
import select
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mpquic.core.wire import CID_LENGTH

if TYPE_CHECKING:
    from mpquic.core.types import Address

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".cache" / "interop"
#: Seconds for a process to start listening, and to end after the connection has.
PROMPT = 15.0


@dataclass(frozen=True)
class Stack:
    """A foreign QUIC implementation."""

    name: str
    command: tuple[str, ...]
    #: Largest datagram it takes from us and can send to us (bytes).
    largest: int
    #: Length of its connection ids (bytes) where that is more than ours, which our largest packet has to make room for.
    cid_length: int
    #: Whether it can begin key updates, and counts them.
    updates_keys: bool


#: It takes DATAGRAM frames of 1220 bytes, header and all.
QUIC_GO = Stack("quic-go", (str(CACHE / "quic-go-peer"),), 1217, cid_length=CID_LENGTH, updates_keys=True)
#: It is told to send packets of 1350 bytes: flags 1, connection id 8, packet number 4, tag 16, frame header 3.
QUICHE = Stack("quiche", ("node", str(HERE / "quiche" / "peer.js")), 1318, cid_length=16, updates_keys=False)


@dataclass(frozen=True)
class Party:
    """One end's identity: the folder with its key and certificate, and the pin others know it by."""

    folder: Path
    pin: str


class Process:
    """A running peer that echoes."""

    def __init__(self, stack: Stack, role: str, address: Address, us: Party, peer: Party, key_packets: int) -> None:
        """Start it; ``address`` is where a client calls, or where a server listens."""
        host, port = address[:2]
        arguments = [role, f"{host}:{port}", str(peer.folder), us.pin, str(key_packets)]
        environment = os.environ | {"NODE_PATH": str(CACHE / "quiche" / "node_modules")}
        self._process = subprocess.Popen(
            [*stack.command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
        )

    def __enter__(self) -> Self:
        """Nothing to do: it runs already."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End it if it has not ended."""
        self._process.kill()
        self._process.communicate()

    def listening(self) -> Address:
        """Return where a server listens."""
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], PROMPT)[0], "the peer does not start to listen"
        line = self._process.stdout.readline()
        assert line, f"the peer ended: {self._process.communicate()[1]}"
        host, port = json.loads(line)["listening"].split(":")
        return host, int(port)

    def report(self) -> dict[str, Any]:
        """Wait for its end and return what it counted."""
        output, errors = self._process.communicate(timeout=PROMPT)
        assert self._process.returncode == 0, f"the peer failed: {errors}"
        report: dict[str, Any] = json.loads(output.splitlines()[-1])
        return report
