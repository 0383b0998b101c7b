# SPDX-License-Identifier: GPL-3.0-or-later
"""When a client tries again, for how long it tries, and why an attempt got no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.core.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between failed attempts while there is no socket (no interface, no address, no name): first ceiling, last
#: ceiling. Looking again costs little.
RETRY_LOCAL = (0.25, 2.0)
#: Last ceiling (seconds) when another connection took the place of this one: two ends in turn would go on for ever.
RETRY_RIVAL = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a client is."""

    #: Seconds that the first handshake may take, and then the registration; doubles up to the second figure while
    #: attempts fail.
    attempt: tuple[float, float]
    #: Seconds between failed attempts: first ceiling, last ceiling.
    retry: tuple[float, float]
    #: Seconds for which a connection that fell silent is kept beside the attempts at a new one. All of them are made
    #: over its socket, so without another way, where the socket may be what is wrong, it is not worth it.
    keep: float = 0.0
    #: Seconds for which packets wait when the host lost its address or link: a DHCP client may be changing it.
    hold: float = 0.0


#: Of a client that has no other way.
ALONE = Pace(attempt=(1.5, 5.0), retry=(0.25, 30.0), hold=0.1)


class Attempts:
    """Counts the attempts that failed, and notes what may be wrong with the one under way."""

    def __init__(self, pace: Pace, random: Callable[[int], bytes]) -> None:
        """Begin with no failure; ``random(n)`` gives n bytes."""
        self.pace = pace
        self._random = random
        self._remote = Backoff(*pace.retry, self._fraction)
        self._local = Backoff(*RETRY_LOCAL, self._fraction)
        self._refused = 0
        self._send_error = ""

    def begin(self) -> None:
        """Forget what was wrong with the previous one."""
        self._refused = 0
        self._send_error = ""

    def ends(self, now: float) -> float:
        """Return when an attempt that begins now is given up."""
        first, last = self.pace.attempt
        return now + min(last, first * 2.0 ** min(self._remote.failures, 8))

    def failed(self, *, rival: bool = False) -> float:
        """Count a failure and return the seconds to wait. A ``rival`` took the place of the connection."""
        return self._remote.next(RETRY_RIVAL if rival else None)

    def no_socket(self) -> float:
        """Count that this host lacks something and return the seconds to wait."""
        return self._local.next()

    def got_socket(self) -> None:
        """Forget what this host lacked."""
        self._local.reset()

    def settled(self) -> None:
        """Forget what failed at the server: a connection lived long enough."""
        self._remote.reset()

    def forgive(self) -> None:
        """Forget every failure: conditions are others now."""
        self._remote.reset()
        self._local.reset()

    def refused(self) -> None:
        """Note ICMP "port unreachable"."""
        self._refused += 1

    def send_failed(self, reason: str) -> None:
        """Note that datagrams do not leave this host."""
        self._send_error = reason

    def why_no_answer(self, *, heard: bool) -> str:
        """Return why the attempt under way is given up; ``heard`` if there was an answer to its Initial."""
        if self._send_error:
            return f"cannot send: {self._send_error}"
        if heard:
            return "the server answers, but the handshake or the registration does not end"
        return "no answer, port closed" if self._refused else "no answer"

    def _fraction(self) -> float:
        return int.from_bytes(self._random(7), "big") / (1 << 56)
