# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic through a tunnel: TCP connections that talk, and iperf3 in either direction."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import iperf
from tests.bench.errors import BenchError
from tests.bench.meter import listens
from tests.bench.shell import Process, inside, started, wait_until
from tests.trials.ends import INNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.trials.ends import Ends

_TALK = Path(__file__).with_name("talk.py")


@dataclass
class Talk:
    """Connections that talk; ``end`` says what became of them."""

    process: Process

    def end(self) -> dict[str, Any]:
        """Stop them, and return how many lived."""
        self.process.expect_alive()
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.wait(20)
        found: dict[str, Any] = json.loads(self.process.output().splitlines()[-1])
        return found


def _expect_ready(process: Process) -> None:
    wait_until(lambda: "ready" in process.output() or not process.alive(), 20, f"{process.name}: not ready")
    process.expect_alive()


@contextlib.contextmanager
def talking(ends: Ends, count: int) -> Iterator[Talk]:
    """Run TCP connections through a tunnel that is up."""
    with contextlib.ExitStack() as stack:
        for role, what, more in (("server", "serve", ()), ("client", "call", (str(count),))):
            words = inside(ends.namespace[role], sys.executable, _TALK, what, INNER["server"], *more)
            process = Process(f"talk {what}", words, ends.folder / f"talk-{what}.log")
            stack.callback(process.stop)
            _expect_ready(process)
        yield Talk(process)


@contextlib.contextmanager
def _iperf(ends: Ends, seconds: float, port: int, *options: str) -> Iterator[Process]:
    where = ends.folder / f"iperf-{port}"

    def server() -> Process:
        words = ("iperf3", "-s", "-1", "-B", INNER["server"], "-p", str(port))
        return Process("iperf3 server", inside(ends.net.server, *words), where.with_suffix(".server"))

    with started(server) as (listener,):
        wait_until(lambda: listens(listener.pid, INNER["server"], port), 5, "iperf3 server: does not listen")
        words = ("iperf3", "-c", INNER["server"], "-p", str(port), "-t", f"{seconds:.0f}", "-J", *options)
        with started(lambda: Process("iperf3", inside(ends.net.client, *words), where.with_suffix(".client"))) as (
            one,
        ):
            yield one


def carried(ends: Ends, seconds: float, *options: str, skip: float = 3.0) -> float:
    """Return what iperf3 carries through the tunnel (Mbit/s, after the first ``skip`` seconds).

    ``options``: as iperf3's; ``-R`` for the way to the client.
    """
    with _iperf(ends, seconds + skip, 7200, "-O", f"{skip:.0f}", *options) as client:
        return iperf.result(client, seconds + skip).mbit


@contextlib.contextmanager
def bulk(ends: Ends, *options: str) -> Iterator[None]:
    """Keep TCP streams running each way; ``options`` are iperf3's."""
    with _iperf(ends, 3600, 7300, *options) as up, _iperf(ends, 3600, 7301, *options, "-R") as down:
        yield
        for process in (up, down):
            if not process.alive():
                raise BenchError(f"iperf3 ended: {process.output()[-300:]}")
