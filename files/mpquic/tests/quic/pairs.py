# SPDX-License-Identifier: GPL-3.0-or-later
"""Two links in memory, each with the fast way or with aioquic's alone, and the datagrams between them by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.connection import Closed
from mpquic.quic.link import Link
from parties import CLIENT, certified, ends
from simulation import SERVER, arrivals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aioquic.tls import CipherSuite
    from mpquic.core.connection import Event
    from mpquic.core.types import Address


class PlainLink(Link):
    """A link without the fast way."""

    __slots__ = ()

    def _prepare_fast(self, now: float) -> None:
        del now

    def _receive(self, *args: object) -> None:
        self._window_used = True
        super()._receive(*args)  # type: ignore[arg-type]


@dataclass
class End:
    """One end: its link, where it is, what waits on the wire towards the other, what it got."""

    link: Link
    address: Address
    wire: list[bytes] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def closed(self) -> list[Closed]:
        self.events += self.link.events()
        return [event for event in self.events if isinstance(event, Closed)]


class Pair:
    """A client and a server after their handshake."""

    def __init__(
        self,
        folder: Path,
        *,
        fast: tuple[bool, bool] = (True, True),
        mtu: int = 1300,
        algorithm: str = "tunnel",
        suite: CipherSuite | None = None,
        client_ids: int = wire.CID_LENGTH,
    ) -> None:
        self.now = 100.0
        client_endpoint, server_endpoint = ends(
            folder, certified("mpquic-server"), certified("client1"), mtu=mtu, algorithm=algorithm
        )
        client_endpoint._configuration.connection_id_length = client_ids
        if suite is not None:
            client_endpoint._configuration.cipher_suites = [suite]
        client = client_endpoint.connect(SERVER, self.now)
        _choose(client, fast[0])
        flight = [data for data, _to in client.seal([], self.now)[0]]
        header = wire.long_header(flight[0])
        assert header is not None
        server = server_endpoint.accept(header.destination, self.now)
        _choose(server, fast[1])
        self.client, self.server = End(client, CLIENT, flight), End(server, SERVER)
        self.settle()
        for end, is_fast in ((self.client, fast[0]), (self.server, fast[1])):
            assert (end.link._opener is not None) is is_fast
            end.events += end.link.events()

    @property
    def ends(self) -> tuple[End, End]:
        return self.client, self.server

    def other(self, end: End) -> End:
        return self.server if end is self.client else self.client

    def send(self, end: End, payloads: Sequence[bytes]) -> None:
        datagrams, taken = end.link.seal(payloads, self.now)
        assert taken == len(payloads)
        end.wire += [data for data, _to in datagrams]

    def deliver(self, end: End, datagrams: Sequence[bytes] | None = None) -> None:
        """Hand what ``end`` sent to the other end, all of it in order unless told otherwise."""
        if datagrams is None:
            datagrams, end.wire = end.wire, []
        self.other(end).got += self.other(end).link.open(arrivals(end.address, *datagrams), self.now)

    def tick(self, seconds: float = 0.01) -> None:
        """Let time pass and timers run; what they have to say is on the wire then."""
        self.now += seconds
        for end in self.ends:
            end.link.fire(self.now)
            self.send(end, [])

    def settle(self, rounds: int = 12) -> None:
        """Deliver everything until acknowledgements have come and gone."""
        for _ in range(rounds):
            for end in self.ends:
                self.deliver(end)
            self.tick()


def _choose(link: Link, fast: bool) -> None:  # noqa: FBT001
    if not fast:
        link.__class__ = PlainLink
