# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection at a server, from its first Initial to its end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.registration import ServerRegistration

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.connection import Connection, Identity
    from mpquic.core.liveness import Liveness
    from mpquic.core.multipath.gathering import Gathering
    from mpquic.core.path import Path
    from mpquic.core.session import Session
    from mpquic.core.types import Arrival, Datagram

#: Seconds from the first Initial to CONFIRM.
DEADLINE = 5.0
#: Datagrams a client may send until it is registered; a handshake in which every one is repeated has fewer.
MAX_UNREGISTERED = 200
#: Seconds a refused client has to read why.
REFUSED_STAYS = 1.0
#: Seconds in which a connection whose place another took is still heard: packets overtake each other on their way.
LINGER = 1.0


class Guest:
    """A connection and how far it has come: handshake, identity, registration (``session``), the tunnel itself."""

    __slots__ = (
        "answered",
        "arrival",
        "ceiling",
        "cids",
        "connection",
        "counted",
        "expires",
        "gathering",
        "gone",
        "heard",
        "host",
        "identity",
        "legacy",
        "liveness",
        "number",
        "outdated",
        "path",
        "registration",
        "removed",
        "session",
        "since",
        "superseded",
    )

    def __init__(self, connection: Connection, host: str, now: float) -> None:
        """Begin with an Initial that came from ``host``."""
        self.connection = connection
        self.host = host
        self.since = now
        #: Largest UDP payload to be tried (bytes).
        self.ceiling = connection.datagram_size
        self.cids: set[bytes] = set()
        self.expires = now + DEADLINE
        #: What started it was an Initial that could be decrypted: every real one is answered at once.
        self.answered = False
        #: What started it, while that may belong to a connection of the process that was here before.
        self.arrival: Arrival | None = None
        #: It counts as half open.
        self.counted = True
        self.gone = False
        #: Datagrams that came before it was registered.
        self.heard = 0
        self.identity: Identity | None = None
        #: It speaks the protocol without identities and registration.
        self.legacy = False
        self.registration = ServerRegistration()
        #: The tunnel it may send into. It is the tunnel's connection only as long as it has a path.
        self.session: Session | None = None
        self.path: Path | None = None
        #: The number of its path, and what other paths it is to be there with: for a client that has several.
        self.number = 0
        self.gathering: Gathering | None = None
        self.liveness: Liveness | None = None
        self.superseded = False
        #: Its client was asked for another connection.
        self.outdated = False
        #: The path that it was, of which what is on its way is still taken: the client has it no more.
        self.removed: Path | None = None

    @property
    def active(self) -> bool:
        """Tell whether its session is served by this connection."""
        return self.path is not None

    def mirror(self, size: int) -> None:
        """Answer in datagrams no larger than the client's: it makes them smaller until an answer arrives."""
        self.connection.set_datagram_size(min(self.connection.datagram_size, size))

    def within_budget(self, batch: Sequence[Arrival], drops: Counter[str], now: float) -> Sequence[Arrival]:
        """Return what a peer may send, and what a connection may before it is one's; the rest is among ``drops``."""
        session = self.session
        if session is None:
            before, self.heard = self.heard, self.heard + sum([wire.count(arrival) for arrival in batch])
            if self.heard <= MAX_UNREGISTERED:
                return batch
            drops["unregistered_flood"] += self.heard - before
            return []
        admitted, refused = session.budget.admit(batch, now)
        if refused:
            session.counters.drops["budget"] += refused
            if self.path is not None:
                # The acknowledgement that is waited for may be among them.
                self.connection.clock.restart(now)
        return admitted

    def sealed(self, now: float) -> list[Datagram]:
        """Return what its connection has to say beside inner packets."""
        datagrams = self.connection.seal([], now)[0]
        return datagrams if self.session is None else self.session.path.lane.others(datagrams)

    def deadline(self) -> float:
        """Return when something is to be done about it (seconds)."""
        deadline = min(self.connection.deadline(), self.expires)
        path = self.path
        if path is not None:
            deadline = min(deadline, path.lane.deadline(), path.fit.deadline())
            if self.liveness is not None:
                deadline = min(deadline, self.liveness.deadline())
        return deadline

    def confirmed(self) -> None:
        """Stop the clock that runs until CONFIRM."""
        self.expires = math.inf

    def linger(self, now: float) -> None:
        """Stay a moment: another connection is the tunnel now."""
        self.superseded = True
        self.liveness = None
        self.expires = now + LINGER
