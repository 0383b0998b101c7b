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
    from collections.abc import Sequence

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
    #: Its client of mpq/1.
    tunnel: tuple[str, ...]
    #: Largest datagram it takes from us and can send to us (bytes).
    largest: int
    #: Length of its connection ids (bytes) where that is more than ours, which our largest packet has to make room for.
    cid_length: int
    #: Whether it can begin key updates, and counts them.
    updates_keys: bool


_GO = str(CACHE / "quic-go-peer")
#: It takes DATAGRAM frames of 1220 bytes, header and all.
QUIC_GO = Stack("quic-go", (_GO,), (_GO, "tunnel"), 1217, cid_length=CID_LENGTH, updates_keys=True)
#: It is told to send packets of 1350 bytes: flags 1, connection id 8, packet number 4, tag 16, frame header 3.
_JS = HERE / "quiche"
QUICHE = Stack(
    "quiche", ("node", str(_JS / "peer.js")), ("node", str(_JS / "tunnel.js")), 1318, cid_length=16, updates_keys=False
)
#: The reference implementation's manners, made with quic-go.
REFERENCE_CLIENT = (_GO, "reference-client")
REFERENCE_SERVER = (_GO, "reference-server")


@dataclass(frozen=True)
class Party:
    """One end's identity: the folder with its key and certificate, and the pin others know it by."""

    folder: Path
    pin: str


class Program:
    """A running program that says what happens in lines of JSON, the last of which is its report."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it."""
        environment = os.environ | {"NODE_PATH": str(CACHE / "quiche" / "node_modules")}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
        )

    def __enter__(self) -> Self:
        """Nothing to do: it runs already."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End it if it has not ended."""
        self._process.kill()
        self._process.communicate()

    def said(self) -> dict[str, Any]:
        """Wait for the next line and return it."""
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], PROMPT)[0], "the peer says nothing"
        line = self._process.stdout.readline()
        assert line, f"the peer ended: {self._process.communicate()[1]}"
        found: dict[str, Any] = json.loads(line)
        return found

    def report(self) -> dict[str, Any]:
        """Tell it to end by the end of its standard input, wait, and return the last thing it said."""
        output, errors = self._process.communicate(timeout=PROMPT)
        assert self._process.returncode == 0, f"the peer failed: {errors}"
        report: dict[str, Any] = json.loads(output.splitlines()[-1])
        return report


class Process(Program):
    """A peer that echoes."""

    def __init__(self, stack: Stack, role: str, address: Address, us: Party, peer: Party, key_packets: int) -> None:
        """Start it; ``address`` is where a client calls, or where a server listens."""
        host, port = address[:2]
        super().__init__([*stack.command, role, f"{host}:{port}", str(peer.folder), us.pin, str(key_packets)])

    def listening(self) -> Address:
        """Return where a server listens."""
        host, port = self.said()["listening"].split(":")
        return host, int(port)
