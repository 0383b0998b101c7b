# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of one path, and what leads from one to another.

::

    CONNECTING ──1──> UP ──4──> SUSPECT ──5──> PROBATION ──8──> UP
        │             │ ^                       ^   │ │
        2             6 └───── 3 ─── DOWN ──3───┤   │ └────4──> SUSPECT
        v             v               ^         7   6, 9
       DOWN         LOSSY ──4──> ...  │       LOSSY <
                        any state ─2──┘

1. Connected for the first time, and nothing failed before.
2. The connection is lost or the first attempt failed. The owner of the connection decides it: its liveness, or the host
   lost the link or the address.
3. Connected again: PROBATION, but UP while no other path is usable. The same from SUSPECT, when a new connection
   replaces one that does not answer.
4. Acknowledgements are overdue (mpquic.core.multipath.silence).
5. Any acknowledgement.
6. More than 5 % of the packets are lost, steadily for 2 s, or for up to 8 s where there are few (.losses).
7. Less than 2 % lost for 4 s.
8. The probation is over: after 2 s, after 4 s when the path fell more than once without 60 s in UP between.
9. More than 5 % of the packets of the probation were lost, and at least 3.

What the peer says changes no state. It makes the rank worse (PathHealth.rank): down and suspect count as suspect, what
follows these and is not up as probation. Otherwise its lossy is about its own direction and counts for nothing here.

The longest way back is LOSSY for 4.5 s and a probation of 4 s: a path that has a connection and no fault is UP within
10 s.

A path whose loss ended as soon as its traffic had left was given too much traffic. To leave it does not help, so it
does not become LOSSY again before a minute has passed without such loss.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpquic.core.multipath.health import CARRYING, RANK_PROBATION, PathHealth, State, Transition
from mpquic.core.multipath.losses import CLEAN, CLEAN_FOR, SLOT, Losses
from mpquic.core.multipath.pings import Pings
from mpquic.core.multipath.probation import Probation
from mpquic.core.multipath.report import Seen
from mpquic.core.multipath.silence import Silence, Verdict
from mpquic.core.state import Fault, Outage

if TYPE_CHECKING:
    from mpquic.core.ackclock import AckClock
    from mpquic.core.path import Path

#: Seconds in UP after which it is forgotten how often a path fell.
SETTLED = 60.0
#: Most failures that are counted; one less for every FORGIVEN seconds in UP.
MOST_FAILS = 6
FORGIVEN = 60.0
#: Seconds without loss after which a path that was given too much traffic may be LOSSY again, and the seconds between
#: the end of that traffic and of the loss that show it.
BORNE = 60.0
_RELIEF = 1.5
#: A silence was a pause when so much of it is in a round trip: packets were late. After a hole, whatever it swallowed,
#: packets or acknowledgements, only packets sent since are answered.
_PAUSE = 0.5

_FALLEN = {State.SUSPECT, State.LOSSY, State.DOWN}


class Machine:
    """One path."""

    def __init__(self, path: Path, now: float, *, asks: bool, transitions: list[Transition]) -> None:
        """Begin in CONNECTING. ``asks``: send many pings while UP. What happens is appended to ``transitions``."""
        self.path = path
        self.health = PathHealth(since=now, outage=Outage(now))
        path.health = self.health
        self.pings = Pings(asks=asks)
        self._transitions = transitions
        #: What is there as long as there is a connection.
        self._clock: AckClock | None = None
        self._losses: Losses | None = None
        self._silence: Silence | None = None
        self._probation: Probation | None = None
        #: Seconds of the silence that made the path suspect, 0 when its kind is known.
        self._silent = 0.0
        #: What was lost when that was much, and until when so much is borne.
        self._flood = 0.0
        self._borne_until = -math.inf
        self._falls = 0
        self._forgive_at = math.inf

    @property
    def usable(self) -> bool:
        """Tell whether there is a connection."""
        return self._clock is not None

    def seen(self) -> Seen:
        """Return what a report says about it."""
        clock, health, losses = self._clock, self.health, self._losses
        state, rtt = health.state, 0.0
        if clock is not None and losses is not None:
            rtt = clock.srtt or 0.0
            if state is State.UP and losses.persistent():
                # Borne or not, it is an excuse for missing acknowledgements.
                state = State.LOSSY
        return Seen(self.path.number, state, health.loss, rtt)

    # --- what happens ------------------------------------------------------------------------------------------------

    def connected(self, now: float, *, alone: bool) -> None:
        """Note a connection. ``alone``: no other path is usable."""
        connection = self.path.connection
        assert connection is not None
        clock = self._clock = connection.clock
        clock.anew()
        if self._silence is None:
            self._silence = Silence(clock)
        else:
            self._silence.attach(clock)
        self._losses = Losses(clock)
        self._silent = 0.0
        self.pings.start(now)
        health = self.health
        # What the peer said was about the connection before.
        health.peer_rank = min(health.peer_rank, RANK_PROBATION)
        state = health.state
        if state is State.CONNECTING:
            self._enter(State.UP, "connected", now)
        elif state in (State.DOWN, State.SUSPECT) and alone:
            self._enter(State.UP, "connected, the only path", now)
        elif state in (State.DOWN, State.SUSPECT):
            self._try(clock, f"connected after {now - health.since:.1f} s", now)
        elif state is State.PROBATION:
            self._try(clock, health.reason, now)

    def lost(self, reason: str, now: float) -> None:
        """Note that the connection ends, or that an attempt at one failed."""
        self._clock = None
        health = self.health
        if health.state is not State.DOWN:
            health.fails = min(MOST_FAILS, health.fails + 1)
            health.loss = 0.0
        self._enter(State.DOWN, reason, now)

    def resume(self, now: float) -> None:
        """Do not take a moment in which this program stood still for silence of the peer."""
        if self._silence is not None:
            self._silence.resume(now)

    # --- time --------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """End a slot of the loss counts; call every SLOT seconds."""
        clock, losses, silence, health = self._clock, self._losses, self._silence, self.health
        if clock is None or losses is None or silence is None:
            return
        self.pings.look(self.path.counters, now)
        losses.tick()
        silence.refresh()
        health.loss = losses.share()
        persistent = losses.persistent()
        state = health.state
        # Only steady loss is an excuse for silence: a gap in the path looks like loss for a moment.
        steady = health.loss if persistent or state is State.LOSSY else 0.0
        answers = health.peer_loss if steady or health.peer is State.LOSSY else 0.0
        silence.expect_loss(1 - (1 - steady) * (1 - answers))
        if persistent:
            self._flood = health.loss
            if now < self._borne_until:
                self._borne_until = now + BORNE
            elif state in (State.UP, State.PROBATION):
                self._enter(State.LOSSY, f"{health.loss:.1%} of the packets lost", now)
        elif state is State.LOSSY and losses.clean():
            clean_from = now - CLEAN_FOR
            if -SLOT <= clean_from - self.pings.sending_at < _RELIEF and losses.relieved(self._flood):
                self._borne_until = now + BORNE
            self._silent = 0.0
            self._try(clock, f"less than {CLEAN:.0%} of the packets lost in {CLEAN_FOR:.0f} s", now)

    def fire(self, now: float) -> bool:
        """Judge; return whether to send a ping now."""
        health, clock, silence = self.health, self._clock, self._silence
        if now >= health.word_until:
            health.forget()
        if clock is None or silence is None:
            return False
        asks = False
        if health.state is not State.SUSPECT:
            verdict = silence.check(now, self.path.fit.asking, self.path.counters.rx_packets)
            asks = verdict is not Verdict.FINE
            if verdict is Verdict.OVERDUE:
                self._suspect(clock, now)
        elif clock.last_ack is not None and clock.last_ack > health.since:
            self._answered(clock, now)
        if health.state is State.PROBATION and self._probation is not None:
            self._prove(clock, silence, self._probation, now)
        elif health.state is State.UP and now >= self._forgive_at:
            self._forgive(now)
        if asks or now >= self.pings.due(health.state, clock, self.path.ping_interval):
            self.pings.sent(now)
            return True
        return False

    def timed(self) -> float:
        """Return when fire() must be called next, acknowledgements apart. Valid until fire() or another event."""
        health, clock = self.health, self._clock
        if clock is None:
            return health.word_until
        due = min(health.word_until, self.pings.due(health.state, clock, self.path.ping_interval))
        if health.state is State.PROBATION and self._probation is not None:
            return min(due, self._probation.deadline())
        return min(due, self._forgive_at) if health.state is State.UP else due

    def overdue(self) -> float:
        """Return when fire() must be called next because of acknowledgements: they came or did not."""
        clock, silence = self._clock, self._silence
        if clock is None or silence is None:
            return math.inf
        health = self.health
        if health.state is not State.SUSPECT:
            return silence.deadline()
        answered = clock.last_ack
        return answered if answered is not None and answered > health.since else math.inf

    # --- inside ------------------------------------------------------------------------------------------------------

    def _enter(self, state: State, reason: str, now: float) -> None:
        health = self.health
        before = health.state
        health.reason = reason
        if state in _FALLEN:
            # One fault from the first doubt on, with the newest reason.
            fault = health.fault if before in _FALLEN else None
            health.fault = Fault(fault.at if fault is not None else now, reason)
        if state is before:
            return
        if state in _FALLEN and before in (State.UP, State.PROBATION):
            if before is State.UP:
                health.switches += 1
                if now - health.since >= SETTLED:
                    self._falls = 0
            self._falls += 1
        health.state = state
        health.since = now
        health.outage.note(now, up=state in CARRYING)
        if state is State.UP:
            health.last_up = now
            self._forgive_at = now + FORGIVEN if health.fails else math.inf
        elif state is State.DOWN:
            health.last_down = now
        self._transitions.append(Transition(self.path, before, state, reason, now))

    def _suspect(self, clock: AckClock, now: float) -> None:
        self._silent = now - (clock.pending_since or now)
        clock.longest = 0.0
        self._enter(State.SUSPECT, f"no acknowledgement for {self._silent * 1000:.0f} ms", now)

    def _answered(self, clock: AckClock, now: float) -> None:
        self._silent += now - self.health.since
        self._try(clock, f"answers again after {self._silent:.2f} s", now)

    def _try(self, clock: AckClock, reason: str, now: float) -> None:
        assert self._silence is not None
        self._enter(State.PROBATION, reason, now)
        self._probation = Probation(clock, now, self._silence.answer, again=self._falls > 1)

    def _prove(self, clock: AckClock, silence: Silence, probation: Probation, now: float) -> None:
        if now < probation.deadline():
            return
        if not probation.counting:
            probation.begin()
            if 0 < self._silent * _PAUSE <= clock.longest:
                silence.survived(self._silent, now)
            self._silent = 0.0
            return
        failed = probation.failed()
        if failed is not None and now >= self._borne_until:
            self._enter(State.LOSSY, failed, now)
        else:
            self._enter(State.UP, f"good for {now - self.health.since:.0f} s", now)

    def _forgive(self, now: float) -> None:
        health = self.health
        health.fails -= 1
        self._forgive_at = now + FORGIVEN if health.fails else math.inf
