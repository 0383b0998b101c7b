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


class UdpGroup:
    """Sockets bound to one address and several ports. An answer leaves by the socket that its address ends with.

    Which one that is, is up to the connection (mpquic.core.types.Address): who only claims an address moves nobody.
    """

    def __init__(self, sockets: Sequence[UdpSocket]) -> None:
        """Take over ``sockets``, at least one."""
        self._sockets = {udp.fileno(): udp for udp in sockets}
        self._by_port = {udp.local[1]: udp for udp in sockets}
        self._first = sockets[0]
        self._ready = select.epoll(len(self._sockets))
        for number in self._sockets:
            self._ready.register(number, select.EPOLLIN)

    def fileno(self) -> int:
        """Return a descriptor that is readable when a socket is."""
        return self._ready.fileno()

    @property
    def local(self) -> Address:
        """The address of the first socket."""
        return self._first.local

    def receive(self) -> list[Arrival]:
        """Return what has arrived, a batch of each socket at most."""
        return [arrival for number, _event in self._ready.poll(0) for arrival in self._sockets[number].receive()]

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Send datagrams, those of one socket in order; by the first what is for a port that is served no more."""
        batches: dict[UdpSocket, list[Datagram]] = {}
        for datagram in datagrams:
            address = datagram[1]
            port = (address.address if isinstance(address, Marked) else address)[-1]
            batches.setdefault(self._by_port.get(port, self._first), []).append(datagram)
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
