# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about one path of several. How it gets from state to state: mpquic.core.multipath.machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from mpquic.core.state import Fault, Outage

if TYPE_CHECKING:
    from mpquic.core.path import Path


class State(Enum):
    """How this end sees a path, by its own measurements."""

    #: Never connected so far, and nothing has failed.
    CONNECTING = "connecting"
    UP = "up"
    #: Works again, but has to prove it for a while.
    PROBATION = "probation"
    #: Delivers, and loses much in this end's sending direction.
    LOSSY = "lossy"
    #: Has a connection, but acknowledgements are overdue.
    SUSPECT = "suspect"
    #: Had a connection or failed to get one.
    DOWN = "down"


#: Ranks, the lower the better. Schedulers use the best there is, and nothing of UNUSABLE.
RANK_UP, RANK_PROBATION, RANK_LOSSY, RANK_SUSPECT, UNUSABLE = range(5)

RANKS = {
    State.UP: RANK_UP,
    State.PROBATION: RANK_PROBATION,
    State.LOSSY: RANK_LOSSY,
    State.SUSPECT: RANK_SUSPECT,
    State.CONNECTING: UNUSABLE,
    State.DOWN: UNUSABLE,
}

#: States in which a path carries packets, well or badly.
CARRYING = {State.UP, State.PROBATION, State.LOSSY}

#: Seconds for which a word of the peer counts.
WORD_LIFE = 5.0


@dataclass(slots=True, eq=False)
class PathHealth:
    """One path's health. Times are seconds on the caller's clock. Written by the Monitor, read by everybody."""

    state: State = State.CONNECTING
    #: When this state was entered, and why.
    since: float = 0.0
    reason: str = "not yet connected"
    #: Outages: connections lost and first attempts failed, 0 to 6; one less for every 60 s in UP (consecutiveFails).
    fails: int = 0
    #: When it last became UP and when it last became DOWN.
    last_up: float | None = None
    last_down: float | None = None
    #: Share of the packets sent by this end that were lost, 0..1, of late; see mpquic.core.multipath.losses.
    loss: float = 0.0
    #: How often it fell from UP.
    switches: int = 0
    #: How long it carried nothing: connecting, suspect or down.
    outage: Outage = field(default_factory=Outage)
    #: Why it was last suspect, lossy or down, and since when.
    fault: Fault | None = None
    #: The peer's last word on it, None when there is none younger than 5 s.
    peer: State | None = None
    #: Loss in the peer's sending direction, 0..1, as the peer measured it.
    peer_loss: float = 0.0
    #: What the peer's word makes of the rank: it never makes it better.
    peer_rank: int = RANK_UP
    #: When it is too old.
    word_until: float = math.inf

    @property
    def rank(self) -> int:
        """0 up, 1 probation, 2 lossy, 3 suspect (seen from here or by the peer), 4 unusable: connecting or down."""
        return max(RANKS[self.state], self.peer_rank)

    def told(self, state: State, loss: float, now: float) -> None:
        """Take the peer's word."""
        self.peer, self.peer_loss = state, loss
        self.word_until = now + WORD_LIFE
        if state in (State.SUSPECT, State.DOWN):
            self.peer_rank = RANK_SUSPECT
        elif state is not State.UP:
            # Of a path that was not bad before, it is about loss in the other direction.
            self.peer_rank = min(self.peer_rank, RANK_PROBATION)
        else:
            self.peer_rank = RANK_UP

    def forget(self) -> None:
        """Forget the peer's word."""
        self.peer, self.peer_loss, self.peer_rank = None, 0.0, RANK_UP
        self.word_until = math.inf


@dataclass(frozen=True, slots=True)
class Transition:
    """A path entered another state."""

    path: Path
    before: State
    after: State
    reason: str
    at: float
