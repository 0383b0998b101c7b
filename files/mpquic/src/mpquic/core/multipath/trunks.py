# SPDX-License-Identifier: GPL-3.0-or-later
"""The tunnels of a server that go over several paths: what is to be flushed, fired and told because of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mpquic.core.schedule import Schedule

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Sequence

    from mpquic.core.guest import Guest
    from mpquic.core.path import Path
    from mpquic.core.session import Session
    from mpquic.core.types import Change, Frame


class Trunks:
    """Knows in which of these tunnels something happened, and when something is due in one."""

    def __init__(
        self,
        touch: Callable[[Guest], None],
        late: Callable[[Session, list[Frame], float], None],
        drops: Counter[str],
    ) -> None:
        """Tell ``touch`` of connections that have something to send, and ``late`` of packets that had waited.

        What is refused is counted in ``drops``.
        """
        self._touch = touch
        self._late = late
        self._drops = drops
        self._schedule: Schedule[Session] = Schedule()
        #: Those in which something happened since the last plan().
        self.stirred: dict[Session, None] = {}

    def stir(self, session: Session, paths: Iterable[Path] = ()) -> None:
        """Look at this tunnel, and let these of its paths be flushed."""
        self.stirred[session] = None
        for path in paths:
            guest = session.guests.get(path.number)
            if guest is not None:
                self._touch(guest)

    def discard(self, session: Session) -> None:
        """Forget a tunnel."""
        self._schedule.discard(session)
        self.stirred.pop(session, None)

    def accept(self, guest: Guest, session: Session, payloads: Sequence[bytes], now: float) -> list[Frame]:
        """Return what to write to the TUN out of what came by a connection.

        Nothing is accepted before a connection of its client is confirmed. Of a client that another one took the place
        of, only what its connections bring that were confirmed before and linger.
        """
        if guest.superseded and guest.gathering is not None and guest.gathering.over:
            return guest.gathering.late(guest.number, payloads, now)
        bundle = session.bundle
        path = guest.removed or session.paths.get(guest.number) if guest.gathering is session.gathering else None
        if bundle is None or path is None:
            self._drops["not_registered"] += len(payloads)
            return []
        self.stirred[session] = None
        return bundle.accept(path, payloads, now)

    def left(self, session: Session, now: float) -> None:
        """Note that a tunnel lost a path: what waited for it may go on."""
        if session.bundle is not None:
            self.stirred[session] = None
            self._late(session, session.bundle.released(), now)

    def settle(self) -> list[Change]:
        """Find out what is to be flushed; return what became of paths."""
        changes: list[Change] = []
        for session in list(self.stirred):
            if session.bundle is not None:
                self.stir(session, session.bundle.touched())
                name = session.member.name
                changes += [replace(item, detail=f"peer={name} {item.detail}") for item in session.bundle.changes()]
        return changes

    def plan(self) -> None:
        """Find out what is due next, after everything was flushed."""
        stirred, self.stirred = self.stirred, {}
        for session in stirred:
            if session.bundle is not None:
                self._schedule.put(session, session.bundle.deadline())

    def fire(self, now: float) -> None:
        """Do what is due."""
        for session in self._schedule.due(now):
            if session.bundle is not None:
                self.stirred[session] = None
                session.bundle.fire(now)
                self._late(session, session.bundle.released(), now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        return self._schedule.next()
