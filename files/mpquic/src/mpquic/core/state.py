# SPDX-License-Identifier: GPL-3.0-or-later
"""What every end and every path of a client is seen to be from outside: a state, with a reason."""

from __future__ import annotations

from typing import NamedTuple

from mpquic.core.types import Change


class Fault(NamedTuple):
    """Why something was not as it should be, and since when (seconds); kept when it is over."""

    at: float
    reason: str


class Outage:
    """How long something was not up, in all."""

    __slots__ = ("_since", "_total", "falls")

    def __init__(self, now: float = 0.0) -> None:
        """Begin with an outage at ``now`` (seconds)."""
        self._total = 0.0
        #: How often it was up and then no more.
        self.falls = 0
        self._since: float | None = now

    def note(self, now: float, *, up: bool) -> None:
        """Take note that it is up or not."""
        if not up and self._since is None:
            self._since = now
            self.falls += 1
        elif up and self._since is not None:
            self._total += now - self._since
            self._since = None

    def seconds(self, now: float) -> float:
        """Return the sum of all outages, the present one included."""
        return self._total + (now - self._since if self._since is not None else 0.0)


class StateMachine:
    """Is in one state at a time, and tells of each that it enters."""

    def __init__(self, state: str, reason: str, now: float) -> None:
        """Begin in a state, of which nothing is told."""
        self.state = state
        #: Why it is in this state.
        self.reason = reason
        #: Since when (seconds).
        self.since = now
        self.outage = Outage(now)
        #: Why it was last not up, with the newest reason; None when it always was, or was never tried.
        self.fault: Fault | None = None
        #: What is to be told, see changes() of each.
        self._changes: list[Change] = []

    def _enter(self, state: str, reason: str, now: float, *, failed: bool = False, detail: str = "") -> None:
        """Be in ``state`` from now on, or still, but for another reason; ``failed`` and ``detail`` as for Change."""
        if state not in {"up", "stopped"} and (failed or self.state == "up"):
            self.fault = Fault(now if self.state == "up" or self.fault is None else self.fault.at, reason)
        if state != self.state:
            self.since = now
        self.state = state
        self.reason = reason
        self.outage.note(now, up=state == "up")
        self._changes.append(Change(state, reason, failed, detail))
