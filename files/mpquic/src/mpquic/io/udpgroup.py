# SPDX-License-Identifier: GPL-3.0-or-later
"""Several UDP sockets as one, for a server that is on several ports while its clients change over."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from mpquic.core.types import Marked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.types import Address, Arrival, Datagram
    from mpquic.io.udp import UdpSocket

#: Addresses of which it is remembered by which socket they came; strangers may come from any number of them.
MAX_HEARD = 65536


class UdpGroup:
    """Sockets bound to one address and several ports. An answer leaves by the socket by which its peer came last."""

    def __init__(self, sockets: Sequence[UdpSocket], before: UdpSocket | UdpGroup | None = None) -> None:
        """Take over ``sockets``, at least one. ``before`` is what served until now: its peers stay where they are."""
        self._sockets = {udp.fileno(): udp for udp in sockets}
        self._ready = select.epoll(len(self._sockets))
        for number in self._sockets:
            self._ready.register(number, select.EPOLLIN)
        heard, fallback = (before.heard, before.fallback) if isinstance(before, UdpGroup) else ({}, before)
        #: By which socket a peer was heard last.
        self.heard: dict[Address, UdpSocket] = {who: udp for who, udp in heard.items() if udp in sockets}
        #: Where answers to all others leave.
        self.fallback: UdpSocket = next((udp for udp in sockets if udp is fallback), sockets[0])
        self._first = sockets[0]

    def fileno(self) -> int:
        """Return a descriptor that is readable when a socket is."""
        return self._ready.fileno()

    @property
    def local(self) -> Address:
        """The address of the first socket."""
        return self._first.local

    def receive(self) -> list[Arrival]:
        """Return what has arrived, a batch of each socket at most."""
        received: list[Arrival] = []
        for number, _event in self._ready.poll(0):
            udp = self._sockets[number]
            arrivals = udp.receive()
            for _data, _size, who in arrivals:
                if self.heard.get(who) is not udp:
                    self._remember(who, udp)
            received += arrivals
        return received

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Send datagrams, those of one socket in order."""
        batches: dict[UdpSocket, list[Datagram]] = {}
        for datagram in datagrams:
            address = datagram[1]
            who = address.address if isinstance(address, Marked) else address
            batches.setdefault(self.heard.get(who, self.fallback), []).append(datagram)
        for udp, batch in batches.items():
            udp.send(batch)

    def take_too_big(self) -> bool:
        """Tell whether EMSGSIZE came at any socket since the last call."""
        # Each is asked, for each forgets what it has told.
        told = [udp.take_too_big() for udp in self._sockets.values()]
        return any(told)

    def release(self) -> None:
        """Let go of the sockets, which stay open."""
        self._ready.close()

    def close(self) -> None:
        """Close the sockets."""
        self.release()
        for udp in self._sockets.values():
            udp.close()

    def _remember(self, who: Address, udp: UdpSocket) -> None:
        self.heard.pop(who, None)
        if len(self.heard) >= MAX_HEARD:
            del self.heard[next(iter(self.heard))]
        self.heard[who] = udp
