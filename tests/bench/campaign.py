# SPDX-License-Identifier: GPL-3.0-or-later
"""The rounds: every peer once, then every peer again, so that what the machine does meanwhile hits all alike."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.bench import added, growth, metrics, wan
from tests.bench.errors import BenchError, UnavailableError
from tests.bench.leftovers import scratch
from tests.bench.measures import SHARED, Place, Values
from tests.bench.peers import OURS, PATHS, PEERS, PYTHON
from tests.bench.results import Problem, Results, Sample
from tests.bench.wires import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.bench.peers import Peer

#: The wire that is most like a network card: figures are quoted from it, and most tests run on it alone.
QUOTED = "W2"
_EVERY_WIRE = ("tcp", "rtcp", "sha256")
_OURS_ONLY = ("sha256", "idle", "tunnels", "added")
#: Tests that make their own tunnels, or need none.
_OWN = {"tunnels": growth.measure, "wan": wan.measure, "added": added.measure}
TESTS = (*SHARED, *_OWN)
#: The wire without a tunnel, and a tunnel of two paths, are yardsticks for throughput alone.
_PLAIN = ("tcp", "rtcp")


@dataclass(frozen=True)
class Plan:
    """What to run."""

    rounds: int
    seconds: float
    wires: Sequence[str]
    peers: Sequence[str]
    tests: Sequence[str]


def applies(test: str, wire: str, peer: str) -> bool:
    """Tell whether a test is made for this wire and this peer."""
    if wire != QUOTED and test not in _EVERY_WIRE:
        return False
    if peer != OURS and test in _OURS_ONLY:
        return False
    if peer == PATHS:
        return wire == QUOTED and test in _PLAIN
    if peer == "veth":
        return test in _PLAIN
    return not (test == "wan" and peer in {"wireguard-go-13", PYTHON})


def _in_tunnel(measure: Callable[[Place], Values], place: Place) -> Values:
    """Measure; when that fails because an end of the tunnel fell over, say so instead of what followed from it."""
    try:
        return measure(place)
    except BenchError:
        place.tunnel.expect_alive()
        raise


class Campaign:
    """One run of the benchmark."""

    def __init__(self, plan: Plan, results: Results, say: Callable[[str], None]) -> None:
        """Put what is found into ``results``, and say what is going on."""
        self._plan = plan
        self._results = results
        self._say = say
        self._wire = Wire()
        self._round = 0

    def run(self) -> None:
        """Run all rounds."""
        plan = self._plan
        peers, tests = self._available()
        self._say(f"{plan.rounds} rounds of {plan.seconds:.0f} s: {', '.join(tests)}; {', '.join(plan.wires)}")
        begin = time.monotonic()
        with self._wire.made():
            for self._round in range(1, plan.rounds + 1):
                for wire in plan.wires:
                    self._wire.set_mode(wire)
                    for peer in peers:
                        self._visit(wire, peer, [test for test in tests if applies(test, wire, peer.name)])
                spent = time.monotonic() - begin
                left = spent / self._round * (plan.rounds - self._round)
                self._say(f"round {self._round} of {plan.rounds} done, about {left / 60:.0f} min left")

    def _available(self) -> tuple[list[Peer], list[str]]:
        peers, tests = [], list(self._plan.tests)
        for name in self._plan.peers:
            try:
                PEERS[name].prepare()
                self._results.about["versions"][name] = PEERS[name].version()
                peers.append(PEERS[name])
            except UnavailableError as error:
                self._results.unavailable[name] = str(error)
            except BenchError as error:
                self._results.problems += [
                    Problem(0, wire, name, test, str(error))
                    for wire in self._plan.wires
                    for test in tests
                    if applies(test, wire, name)
                ]
                self._say(f"{name}: {error}")
        if "wan" in tests:
            with scratch() as where:
                try:
                    wan.prepare(where)
                except UnavailableError as error:
                    self._results.unavailable["wan"] = str(error)
                    tests.remove("wan")
        for name, reason in self._results.unavailable.items():
            self._say(f"{name}: not available: {reason}")
        return peers, tests

    def _visit(self, wire: str, peer: Peer, tests: list[str]) -> None:
        with scratch() as where:
            self._shared(wire, peer, [test for test in tests if test in SHARED], where)
            for test in tests:
                if test in _OWN:
                    self._note(wire, peer, test, partial(_OWN[test], self._wire, peer, where, self._plan.seconds))

    def _shared(self, wire: str, peer: Peer, tests: list[str], where: Path) -> None:
        waiting = list(tests)
        if not waiting:
            return
        try:
            with peer.tunnel(self._wire.ends, where) as tunnel:
                place = Place(tunnel, where, self._plan.seconds)
                while waiting:
                    tunnel.expect_alive()
                    test = waiting.pop(0)
                    self._note(wire, peer, test, partial(_in_tunnel, SHARED[test], place))
        except (BenchError, OSError) as error:
            for test in waiting:
                self._fail(wire, peer, test, error)

    def _note(self, wire: str, peer: Peer, test: str, measure: Callable[[], Values]) -> None:
        try:
            values = measure()
        except (BenchError, OSError) as error:
            self._fail(wire, peer, test, error)
            return
        self._results.samples.append(Sample(self._round, wire, peer.name, test, values))
        self._say(f"{self._where(wire, peer, test)} {metrics.summary(test, values)}")

    def _fail(self, wire: str, peer: Peer, test: str, error: Exception) -> None:
        reason = " ".join(str(error).split())
        self._results.problems.append(Problem(self._round, wire, peer.name, test, reason))
        self._say(f"{self._where(wire, peer, test)} FAILED: {reason}")

    def _where(self, wire: str, peer: Peer, test: str) -> str:
        return f"{self._round}/{self._plan.rounds} {wire} {peer.name:<15} {test:<7}"
