# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches the paths of one tunnel: asks, judges, and tells the peer.

A report leaves at once when a path enters another state, three times 50 ms apart, by the best path; beside that every
second while a path carries packets or is not what it should be, and every 4 s in quiet times.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpquic.core.multipath import report
from mpquic.core.multipath.health import UNUSABLE, State, Transition
from mpquic.core.multipath.losses import SLOT
from mpquic.core.multipath.machine import Machine
from mpquic.core.multipath.pings import BUSY

if TYPE_CHECKING:
    from mpquic.core.connection import Connection
    from mpquic.core.path import Path

#: Repetitions of a report on a change, and the seconds between two.
REPEAT = 3
REPEAT_AFTER = 0.05
#: Seconds between two reports while something happens, and in quiet times.
REPORT_BUSY = 1.0
REPORT_QUIET = 4.0
#: A path that is down is news for so long (seconds).
_NEWS = 15.0
#: Seconds by which fire() may be late before the delay is taken for a standstill of this program, and the least time
#: between two of them.
_STALL = 0.05
_STALL_APART = 1.0


class Monitor:
    """Judges every path that was added, by acknowledgements alone and by what the peer says."""

    def __init__(self, now: float, *, asks: bool) -> None:
        """Start without paths. ``asks``: this end, the client, sends pings by idle paths.

        Both ends send pings by paths in doubt.
        """
        self._asks = asks
        self._machines: dict[int, Machine] = {}
        self._ranks: dict[int, tuple[int, int]] = {}
        self._transitions: list[Transition] = []
        #: How many of these caused a report.
        self._reported = 0
        self._touched: list[Path] = []
        self._heard = report.Heard()
        self._number = 0
        self._repeat = 0
        self._repeat_at = math.inf
        self._report_at = math.inf
        self._tick_at = math.inf
        self._stalled_at = -math.inf
        #: The earliest of what is due by time alone.
        self._timed = math.inf
        self._now = now
        #: Rises whenever a rank or the number of a path's failures changed.
        self.generation = 0

    def add(self, path: Path) -> None:
        """Judge this path from now on; its health is CONNECTING. Another path of the same number is replaced."""
        self._machines[path.number] = Machine(path, self._now, asks=self._asks, transitions=self._transitions)
        self._plan()

    def remove(self, path: Path) -> None:
        """Forget this path, whatever its state, and what changes() has not yet told about it."""
        machine = self._machines.get(path.number)
        if machine is not None and machine.path is path:
            del self._machines[path.number]
            self._transitions[:] = [item for item in self._transitions if item.path is not path]
            self._reported = len(self._transitions)
            self._plan()

    def restart(self, now: float) -> None:
        """Forget what the peer said: it began anew."""
        self._now = now
        self._heard = report.Heard()
        for machine in self._machines.values():
            machine.health.forget()
        self._plan()

    def connected(self, path: Path, now: float) -> None:
        """Note that ``path.connection`` is set, for the first time, after a failure or in place of another."""
        self._now = now
        machine = self._machines[path.number]
        others = [other for other in self._machines.values() if other is not machine]
        machine.connected(now, alone=all(other.health.rank == UNUSABLE for other in others))
        if self._tick_at == math.inf:
            self._tick_at = _next_slot(now)
        if self._report_at == math.inf:
            self._report_at = now + REPORT_BUSY
        self._note(now)

    def lost(self, path: Path, reason: str, now: float) -> None:
        """Note that the path's connection ends or an attempt at one failed."""
        self._now = now
        self._machines[path.number].lost(reason, now)
        self._note(now)

    def hear(self, path: Path, payload: bytes, now: float) -> None:
        """Take a payload of context 4 that came by ``path``. Malformed and outdated ones are ignored."""
        del path
        self._now = now
        paths = self._heard.take(payload, now)
        if not paths:
            return
        for seen in paths:
            machine = self._machines.get(seen.path)
            if machine is not None:
                machine.health.told(seen.state, seen.loss, now)
        self._plan()

    def fire(self, now: float) -> None:
        """Judge and ask. Afterwards touched() says what is to be flushed."""
        due = self.deadline()
        if now < due:
            return
        self._now = now
        machines = self._machines.values()
        if now > due + _STALL and now > self._stalled_at + _STALL_APART:
            self._stalled_at = now
            for machine in machines:
                machine.resume(now)
        if now >= self._tick_at:
            self._tick_at = _next_slot(now) if any(machine.usable for machine in machines) else math.inf
            for machine in machines:
                machine.tick(now)
        for machine in machines:
            if machine.fire(now):
                path = machine.path
                if path.connection is not None:
                    path.connection.ping()
                    self._touched.append(path)
        self._note(now)

    def deadline(self) -> float:
        """Return when fire() must be called next, infinity for never. Ask after every event: traffic changes it."""
        due = self._timed
        for machine in self._machines.values():
            overdue = machine.overdue()
            due = min(due, overdue)
        return due

    def touched(self) -> list[Path]:
        """Return the paths that have something to flush since the last call: a ping or a report."""
        touched, self._touched = self._touched, []
        return touched

    def changes(self) -> list[Transition]:
        """Return the transitions since the last call, in order."""
        if not self._transitions:
            return []
        changes = self._transitions.copy()
        # The machines append to this very list.
        self._transitions.clear()
        self._reported = 0
        return changes

    # --- inside ------------------------------------------------------------------------------------------------------

    def _note(self, now: float) -> None:
        """Tell the peer what is new, and find out what is due next."""
        if len(self._transitions) > self._reported:
            self._reported = len(self._transitions)
            self._repeat = REPEAT
            self._repeat_at = now
        if now >= self._repeat_at or now >= self._report_at:
            self._report(now)
        self._plan()

    def _plan(self) -> None:
        machines = self._machines
        ranks = {number: (machine.health.rank, machine.health.fails) for number, machine in machines.items()}
        if ranks != self._ranks:
            self._ranks = ranks
            self.generation += 1
        due = min(self._tick_at, self._repeat_at, self._report_at)
        self._timed = min([due, *[machine.timed() for machine in machines.values()]])

    def _report(self, now: float) -> None:
        """Tell the peer how every path is, by the best."""
        carrier = self._carrier()
        self._repeat = max(0, self._repeat - 1)
        self._repeat_at = now + REPEAT_AFTER if self._repeat else math.inf
        if carrier is None:
            self._repeat = 0
            self._repeat_at = self._report_at = math.inf
            return
        self._report_at = now + (REPORT_BUSY if self._is_lively(now) else REPORT_QUIET)
        path, connection = carrier
        # What does not fit is the best: no word on a path makes its rank no worse.
        worst = sorted(self._machines.values(), key=lambda machine: -machine.health.rank)
        self._number += 1
        seen = [machine.seen() for machine in worst[: report.room(connection.max_payload)]]
        path.lane.say(report.encode(self._number, seen))
        self._touched.append(path)

    def _carrier(self) -> tuple[Path, Connection] | None:
        """Return the path for a report: of the best rank, of these the busiest."""
        best = sorted(
            self._machines.values(), key=lambda each: (each.health.rank, -each.pings.busy_at, each.path.number)
        )
        for machine in best:
            connection = machine.path.connection
            if machine.usable and connection is not None:
                return machine.path, connection
        return None

    def _is_lively(self, now: float) -> bool:
        """Tell whether the peer should hear often."""
        for machine in self._machines.values():
            state = machine.health.state
            if state in (State.SUSPECT, State.LOSSY, State.PROBATION) or now < machine.pings.busy_at + BUSY:
                return True
            if state is State.DOWN and now < machine.health.since + _NEWS:
                return True
        return False


def _next_slot(now: float) -> float:
    """Return the next multiple of SLOT: the tunnels of one server wake it together."""
    return (math.floor(now / SLOT) + 1) * SLOT
