# SPDX-License-Identifier: GPL-3.0-or-later
"""iperf3 through a tunnel, from its client to its server."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.bench.errors import BenchError
from tests.bench.meter import listens
from tests.bench.shell import Process, inside, started, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.peers.base import Tunnel

_PORT = 5201
#: Seconds on top of the measurement for the connections before and after it.
_SLACK = 15.0


@dataclass(frozen=True)
class Flow:
    """What arrived."""

    mbit: float
    bytes: int
    seconds: float
    #: UDP only: datagrams sent and received.
    sent: int = 0
    received: int = 0


@contextlib.contextmanager
def running(tunnel: Tunnel, where: Path, seconds: float, *options: str) -> Iterator[Process]:
    """Run server and client; yield the client, whose output ``result`` reads after its end."""
    log = where / f"iperf-{tunnel.server_inner}"

    def server() -> Process:
        words = ("iperf3", "-s", "-1", "-B", tunnel.server_inner, "-p", str(_PORT))
        return Process("iperf3 server", inside(tunnel.ends.server, *words), log.with_suffix(".server"))

    def client() -> Process:
        words = ("iperf3", "-c", tunnel.server_inner, "-p", str(_PORT), "-t", f"{seconds:.0f}", "-J", *options)
        return Process("iperf3", inside(tunnel.ends.client, *words), log.with_suffix(".client"))

    with started(server) as (listener,):
        wait_until(
            lambda: listens(listener.pid, tunnel.server_inner, _PORT) or not listener.alive(),
            5,
            "iperf3 server: does not listen",
        )
        listener.expect_alive()
        with started(client) as (sender,):
            yield sender


def result(client: Process, seconds: float) -> Flow:
    """Wait for the client's end and read what it found. Raises BenchError with its own words when it failed."""
    code = client.wait(seconds + _SLACK)
    try:
        # A remark about the size of the datagrams may come first.
        answer: dict[str, Any] = json.loads("".join(client.output().partition("{")[1:]))
    except ValueError as error:
        raise BenchError(f"iperf3 ended with {code} and no result") from error
    return parse(answer)


def parse(answer: dict[str, Any]) -> Flow:
    """Read the client's JSON. Bytes are those that the receiver counted. Raises BenchError when nothing arrived."""
    if "error" in answer:
        raise BenchError(f"iperf3: {answer['error']}")
    received, sent = answer["end"]["sum_received"], answer["end"]["sum_sent"]
    count = int(received["bytes"])
    span = float(received["seconds"])
    if count == 0 or span <= 0:
        raise BenchError("iperf3: nothing arrived")
    test = answer["start"]["test_start"]
    datagrams = (
        {"sent": int(sent["packets"]), "received": count // int(test["blksize"])} if test["protocol"] == "UDP" else {}
    )
    return Flow(mbit=count * 8 / span / 1e6, bytes=count, seconds=span, **datagrams)


def measure(tunnel: Tunnel, where: Path, seconds: float, *options: str) -> Flow:
    """Run one measurement to its end."""
    with running(tunnel, where, seconds, *options) as client:
        return result(client, seconds)
