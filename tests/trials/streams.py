# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the packets of steady flows."""

from __future__ import annotations

import contextlib
import itertools
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.shell import Process, inside, started, wait_until
from tests.trials.ends import INNER, ROLES
from tests.trials.probe import ARRIVED, RECORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.trials.ends import Ends

_PROBE = Path(__file__).with_name("probe.py")
_OTHER = {"client": "server", "server": "client"}
#: Port of a flow of the default class, and one of the class that is duplicated.
PLAIN, TWICE = 7000, 7001
RATE = 100.0


@dataclass(slots=True)
class Stream:
    """One flow in one direction: when each packet was sent, and in which order which arrived when."""

    sent: dict[int, float] = field(default_factory=dict)
    arrivals: list[tuple[int, float]] = field(default_factory=list)

    def gap(self, begin: float, end: float) -> float:
        """Return the longest time without an arrival between two moments, less the usual one (s)."""
        times = sorted(at for _number, at in self.arrivals if begin <= at <= end)
        marks = [begin, *times, end]
        return max(0.0, max(later - earlier for earlier, later in itertools.pairwise(marks)) - 1 / RATE)

    def lost(self, begin: float, end: float) -> int:
        """Return how many of the packets sent between two moments did not arrive."""
        return len(self.missing(begin, end))

    def missing(self, begin: float, end: float) -> list[float]:
        """Return when those of the packets were sent that were sent between two moments and did not arrive."""
        arrived = {number for number, _at in self.arrivals}
        return [at for number, at in self.sent.items() if begin <= at < end and number not in arrived]

    def count(self, begin: float, end: float) -> int:
        """Return how many packets were sent between two moments."""
        return sum(begin <= at < end for at in self.sent.values())

    def doubled(self) -> int:
        """Return how many packets arrived once more than they should."""
        return len(self.arrivals) - len({number for number, _at in self.arrivals})

    def reordered(self, begin: float, end: float) -> int:
        """Return how many packets that were sent between two moments arrived after one that was sent later."""
        return len(self.overtaken(begin, end))

    def overtaken(self, begin: float, end: float) -> list[float]:
        """Return when the packets were sent that were sent between two moments and arrived after a later one."""
        found, highest = [], -1
        for number, _at in self.arrivals:
            sent = self.sent.get(number, begin)
            if number < highest and begin <= sent < end:
                found.append(sent)
            highest = max(highest, number)
        return found


class Probes:
    """Flows both ways through a tunnel; a direction is named after the end that sends."""

    def __init__(self, logs: dict[str, Path]) -> None:
        """Read what the probes of both ends write."""
        self._logs = logs

    def streams(self) -> dict[tuple[str, int], Stream]:
        """Return every flow so far by its sender and port."""
        found: dict[tuple[str, int], Stream] = {}
        for role, log in self._logs.items():
            data = log.read_bytes()
            whole = len(data) - len(data) % RECORD.size
            for kind, port, number, sent, at in RECORD.iter_unpack(data[:whole]):
                if kind == ARRIVED:
                    found.setdefault((_OTHER[role], port), Stream()).arrivals.append((number, at))
                else:
                    found.setdefault((role, port), Stream()).sent[number] = sent
        return found


@contextlib.contextmanager
def probes(ends: Ends, *ports: int) -> Iterator[Probes]:
    """Run flows of RATE packets a second each way through a tunnel that is up."""
    logs = {role: ends.folder / f"probe-{role}" for role in ROLES}
    makers = []
    for role, log in logs.items():
        log.unlink(missing_ok=True)
        words: tuple[str | Path, ...] = (log, INNER[role], INNER[_OTHER[role]], str(RATE), *map(str, ports))
        command = inside(ends.namespace[role], sys.executable, _PROBE, *words)
        makers.append(partial(Process, f"probe {role}", command, ends.folder / f"probe-{role}.log"))
    with started(*makers) as running:
        found = Probes(logs)
        wait_until(lambda: all(log.exists() for log in logs.values()), 5, "probes: do not start")
        wait_until(
            lambda: len([stream for stream in found.streams().values() if stream.arrivals]) == 2 * len(ports),
            10,
            lambda: f"probes: nothing arrives\n{ends.tell()}",
        )
        yield found
        for process in running:
            process.expect_alive()
