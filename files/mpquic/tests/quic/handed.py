# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of several paths and its server in virtual time, whose instances change hands: each end, or both at once."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from mpquic.core.strays import Strays
from several import Several
from simulation import SERVER, arrivals, turned

if TYPE_CHECKING:
    from mpquic.core.multipath.client import MultipathClient
    from mpquic.core.server import ServerTunnel
    from mpquic.core.types import Address
    from several import Line

#: Seconds: between requests to renew, between looks whether an heir is up, and in which a client's giver sends what
#: waits. As in mpquic.daemon.
ASK_EVERY, LOOK, DRAIN = 0.1, 0.005, 0.5


class Handed(Several):
    """A server that may have a predecessor, which gets what is not the server's."""

    giver: ServerTunnel | None = None
    strays: Strays | None = None

    def hand_over(self, *, asks_after: float = 0.0) -> None:
        """Put a new process in the place of the server, and let the other ask the client for connections."""
        self.giver = self.server
        self.start_server()
        assert self.server is not None
        self.strays = Strays()
        self.server.follow_on(self.strays)
        if asks_after:
            self.call(asks_after, self._ask)
        else:
            self._ask()

    def leave(self) -> None:
        """Let the server before end, which has nothing left."""
        assert self.giver is not None
        assert self.giver.deserted
        assert self.server is not None
        self.giver = self.strays = None
        self.server.follow_on(None)

    def _ask(self) -> None:
        if self.giver is not None:
            assert not self.giver.ask_to_renew(16)
            self.call(ASK_EVERY, self._ask)

    def _settle(self) -> None:
        giver, strays = self.giver, self.strays
        if giver is not None and strays is not None:
            frames = giver.receive(strays.arrivals, self.now)
            giver.send(strays.reads, self.now)
            strays.arrivals.clear()
            strays.reads.clear()
            self.at_server += [(self.now, b"".join(frame)) for frame in (*frames, *giver.answers())]
            for data, to in giver.flush(self.now):
                line = self.lines[int(to[0].rpartition(".")[2])]
                self._carry(line.down, data, functools.partial(self._to_client, line, data, to))
            self._note("giver", giver.changes())
        super()._settle()

    def _deadline(self) -> float:
        return min(super()._deadline(), self.giver.deadline() if self.giver is not None else math.inf)

    def _fire(self) -> None:
        if self.giver is not None:
            self.giver.fire(self.now)
        super()._fire()


class BothHanded(Handed):
    """A client that may have a predecessor as well."""

    former: MultipathClient | None = None
    #: Who reads the client's TUN.
    reader: MultipathClient | None = None

    def hand_over_client(self) -> None:
        """Start a client beside the present one, and let it read the TUN as soon as it is up."""
        self.former = self.reader = self.client
        self._former_ports = {number: line.port for number, line in self.lines.items()}
        self.former.hold(self.now)
        self.start_client()
        self._look()

    def up(self, *packets: bytes) -> None:
        (self.reader or self.client).send(packets, self.now)
        self._deliver()

    def _look(self) -> None:
        if self.client.state == "up":
            self.reader = self.client
            self.call(DRAIN, self._part)
        else:
            self.call(LOOK, self._look)

    def _part(self) -> None:
        assert self.former is not None
        self.former.close(self.now, linger=True)

    def _settle(self) -> None:
        if self.former is not None:
            for leg in self.former.touched():
                line = self.lines[leg.path.number]
                source = (f"198.51.100.{line.number}", self._former_ports[line.number])
                for data, _to in leg.flush(self.now):
                    self._carry(line.up, data, functools.partial(self._to_server, line, data, source))
            self._note("former", self.former.changes())
        super()._settle()

    def _deadline(self) -> float:
        return min(super()._deadline(), self.former.deadline() if self.former is not None else math.inf)

    def _fire(self) -> None:
        if self.former is not None:
            self.former.fire(self.now)
        super()._fire()

    def _deliver(self) -> None:
        if self.former is not None:
            self.at_client += [(self.now, turned(b"".join(frame))) for frame in self.former.answers()]
        super()._deliver()

    def _to_client(self, line: Line, data: bytes, to: Address) -> None:
        if self.former is None or to[1] != self._former_ports[line.number]:
            super()._to_client(line, data, to)
            return
        leg = next(leg for leg in self.former.legs if leg.path.number == line.number)
        frames = leg.receive(arrivals(SERVER, data), self.now)
        self.at_client += [(self.now, turned(b"".join(frame))) for frame in frames]
