# SPDX-License-Identifier: GPL-3.0-or-later
"""What every end and every path of a client is seen to be from outside: a state, with a reason."""

from __future__ import annotations

from mpquic.core.types import Change


class StateMachine:
    """Is in one state at a time, and tells of each that it enters."""

    def __init__(self, state: str, reason: str, now: float) -> None:
        """Begin in a state, of which nothing is told."""
        self.state = state
        #: Why it is in this state.
        self.reason = reason
        #: Since when (seconds).
        self.since = now
        #: What is to be told, see changes() of each.
        self._changes: list[Change] = []

    def _enter(self, state: str, reason: str, now: float, *, failed: bool = False, detail: str = "") -> None:
        """Be in ``state`` from now on, or still, but for another reason; ``failed`` and ``detail`` as for Change."""
        if state != self.state:
            self.since = now
        self.state = state
        self.reason = reason
        self._changes.append(Change(state, reason, failed, detail))
