# SPDX-License-Identifier: GPL-3.0-or-later
"""When acknowledgements of one path are overdue.

Silence is the time since the last acknowledgement, or since the first packet after everything was acknowledged
(AckClock.pending_since). It is no measure of delay: a queue that fills makes every acknowledgement late, but they keep
coming. Two conditions end the benefit of the doubt:

- silence of ``max(100 ms, 1.5 srtt + 4 rttvar)``, or 1.25 times the longest silence of the last minute after which
  packets turned out to be late and not lost, up to 1.25 s: radio links and queues filled by others pause and go on;
- so many packets unanswered, each for longer than an answer takes (``srtt + 4 rttvar + 15 ms``), that chance does not
  explain it: three, and more on a path that is known to lose packets. When traffic does not provide them, pings do.

So a single lost packet makes nobody suspicious, and on a busy path nothing is sent in addition.

While inner packets arrive by the path, 200 ms more are granted: acknowledgements stand in the same queue as they do,
and a burst may have filled it. If it is a hole after all, the sender of these packets gets no acknowledgement either,
notices as soon as ever, and says so by another path.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.ackclock import AckClock

#: Seconds of silence that are nothing, and in round trips.
LEAST = 0.1
ROUND_TRIPS = 1.5
#: Deviations of the round trip time that are nothing.
DEVIATIONS = 4
#: Seconds that the peer may wait with an acknowledgement, and that either end may be busy.
MARGIN = 0.015
#: Seconds at least between the look at what is outstanding and the moment when its answers are due.
_LOOK = 0.01
#: Round trip time before there is one (seconds, RFC 9002 section 6.2.2).
_UNKNOWN = 0.333
#: Packets unanswered that are no accident on a good path, and at most.
EVIDENCE, MOST_EVIDENCE = 3, 20
#: Chance of a false alarm that is accepted.
_CHANCE = 1e-4
#: Single packets fare worse in a queue that is flooded than the flood itself does, by so much at most.
_WORSE = 2
#: Seconds between two pings in one silence, and the same in times of an answer.
_STEP = 0.025
_STEP_ANSWERS = 1 / 8
#: Inner packets that arrived meanwhile and grant so many seconds more, up to so many in all.
_ARRIVING = 3
_GRANT = 0.05
_GRANTED = 0.2
#: How much longer than a pause that was survived the next one may be, the longest pause that counts (seconds), and
#: for how long it is remembered (seconds).
PAUSE_FACTOR = 1.25
LONGEST_PAUSE = 1.0
MEMORY = 60.0


class Verdict(Enum):
    """What silence says now."""

    FINE = "fine"
    #: Send a PING now; it counts as sent.
    ASK = "ask"
    OVERDUE = "overdue"


class Silence:
    """Judges one path by the AckClock of its present connection."""

    __slots__ = (
        "_arrived",
        "_asked",
        "_clock",
        "_enough_at",
        "_first",
        "_granted_until",
        "_looked",
        "_noted",
        "_pause",
        "_pause_until",
        "_resumed",
        "_since",
        "needed",
    )

    def __init__(self, clock: AckClock) -> None:
        """Begin with this clock."""
        #: Packets unanswered that are needed.
        self.needed = EVIDENCE
        self._pause = 0.0
        self._pause_until = -math.inf
        self.attach(clock)

    def attach(self, clock: AckClock) -> None:
        """Go on with the clock of another connection; pauses are the path's."""
        self._clock = clock
        self._resumed = -math.inf
        #: The silence that is being watched, by its beginning.
        self._since: float | None = None
        self._looked = False
        #: It is one more pause, if it is no gap.
        self._noted = False
        self._asked = -math.inf
        #: When there were packets enough outstanding, and what had arrived until then.
        self._enough_at = math.inf
        self._arrived = 0
        self._granted_until = -math.inf
        self._first = 0.0
        self.refresh()

    @property
    def answer(self) -> float:
        """Seconds after which nearly every packet should be acknowledged."""
        clock = self._clock
        srtt, deviation = (_UNKNOWN, _UNKNOWN / 2) if clock.srtt is None else (clock.srtt, clock.rttvar)
        return srtt + DEVIATIONS * deviation + MARGIN

    def refresh(self) -> None:
        """Take the present round trip times into account; call now and then."""
        answer = self.answer
        self._first = min(self._base(answer) - answer, answer)

    def expect_loss(self, share: float) -> None:
        """Take into account that this share (0..1) of the packets or of their answers is lost anyway."""
        if share <= 0:
            self.needed = EVIDENCE
        else:
            needed = math.ceil(math.log(_CHANCE) / math.log(min(_WORSE * share, 0.99)))
            self.needed = min(max(EVIDENCE, needed), MOST_EVIDENCE)

    def survived(self, pause: float, now: float) -> None:
        """Note that the path went on after a silence of ``pause`` seconds as if nothing had been."""
        self._pause = min(max(self._pause if now < self._pause_until else 0.0, pause), LONGEST_PAUSE)
        self._pause_until = now + MEMORY

    def resume(self, now: float) -> None:
        """Measure from now on: this program did not run for a moment, and answers may wait to be read."""
        self._resumed = now

    def check(self, now: float, asking: int = 0, arrived: int = 0) -> Verdict:
        """Judge. Of the packets outstanding, ``asking`` are path MTU probes, whose loss says nothing.

        ``arrived`` counts inner packets that came by the path, from any number on.
        """
        pending = self._clock.pending_since
        if pending is None:
            return Verdict.FINE
        since = max(pending, self._resumed)
        if since != self._since:
            self._since = since
            self._looked = self._noted = False
            self._asked = -math.inf
            self._enough_at = math.inf
            self._granted_until = -math.inf
        answer = self.answer
        base = self._base(answer)
        asks = False
        if self._enough_at == math.inf:
            evidence = self._clock.outstanding - asking
            asks = self._look(now, evidence, since + (base - answer), self._ask_at(since, answer))
            self._arrived = arrived
        if not self._noted and now >= max(since + base, self._enough_at + answer) and since < self._pause_until:
            self._noted = True
            self._pause_until = now + MEMORY
        overdue_at = self._overdue_at(since, base, answer)
        if now >= overdue_at:
            if arrived < self._arrived + _ARRIVING or now >= since + base + _GRANTED:
                return Verdict.OVERDUE
            self._arrived = arrived
            self._granted_until = now + _GRANT
        return Verdict.ASK if asks else Verdict.FINE

    def deadline(self) -> float:
        """Return when check() may next answer anything but FINE, or has to look."""
        pending = self._clock.pending_since
        if pending is None:
            return math.inf
        since = max(pending, self._resumed)
        if since != self._since:
            return since + self._first
        answer = self.answer
        base = self._base(answer)
        if self._enough_at < math.inf:
            if not self._noted and since < self._pause_until:
                return max(since + base, self._enough_at + answer)
            return self._overdue_at(since, base, answer)
        ask_at = self._ask_at(since, answer)
        return ask_at if self._looked else min(ask_at, since + (base - answer))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _base(self, answer: float) -> float:
        """Return the silence that is too long, by the round trip times alone."""
        clock = self._clock
        srtt = _UNKNOWN if clock.srtt is None else clock.srtt
        # 1.5 srtt + 4 rttvar, written with what is known.
        return max(LEAST, answer - MARGIN + (ROUND_TRIPS - 1) * srtt, answer + _LOOK)

    def _overdue_at(self, since: float, base: float, answer: float) -> float:
        limit = max(base, PAUSE_FACTOR * self._pause) if since < self._pause_until else base
        return max(since + limit, self._enough_at + answer, self._granted_until)

    def _ask_at(self, since: float, answer: float) -> float:
        return max(since + answer, self._asked + max(_STEP, _STEP_ANSWERS * answer))

    def _look(self, now: float, evidence: int, look_at: float, ask_at: float) -> bool:
        """Look whether packets enough are outstanding, and tell whether to ask because they are not."""
        asks = now >= ask_at
        if not asks and (self._looked or now < look_at):
            return False
        self._looked = True
        if evidence >= self.needed:
            self._enough_at = now
            return False
        if asks:
            self._asked = now
            if evidence + 1 >= self.needed:
                self._enough_at = now
        return asks
