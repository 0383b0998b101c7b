# SPDX-License-Identifier: GPL-3.0-or-later
"""New connections in place of all that are up, one path at a time: the others carry the packets meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from mpquic.core.connection import Connection
    from mpquic.core.multipath.leg import Leg
    from mpquic.core.types import Address


class Renewals:
    """The legs whose connections are to be renewed."""

    def __init__(self) -> None:
        """Begin with none."""
        #: Each with the session of the connection that is to go.
        self._waiting: list[tuple[Leg, str]] = []
        self._current: Leg | None = None

    def plan(self, legs: Iterable[Leg]) -> None:
        """Renew those of these that are up, and no others."""
        self._waiting = [(leg, leg.session) for leg in legs if leg.session is not None]

    def keep(self, legs: Collection[Leg]) -> None:
        """Forget all but these."""
        self._waiting = [(leg, session) for leg, session in self._waiting if leg in legs]

    def advance(self, connect: Callable[[Address, float], Connection], now: float) -> None:
        """Renew the next once the one before has a new connection, or has failed to get one; see Uplink.renew()."""
        while self._waiting and (self._current is None or not self._current.renewing):
            leg, session = self._waiting.pop(0)
            # Without a session it may have one that is silent.
            if leg.session in {session, None}:
                self._current = leg
                leg.renew(connect, now, redial=True)
