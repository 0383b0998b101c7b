# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shell drives: a tunnel, and its ports, each of which is served by one UDP socket.

A server and a client of one path are their own only port. A client of several paths has one port for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.offload import Codec
    from mpquic.core.state import Fault, Outage
    from mpquic.core.types import Address, Arrival, Change, Counters, Datagram, Frame


class Port(Protocol):
    """The UDP side of a tunnel, or of one of its paths."""

    def receive(self, arrivals: Sequence[Arrival], now: float) -> list[Frame]:
        """Take UDP datagrams of this port's socket and return what to write to the TUN."""

    def flush(self, now: float) -> list[Datagram]:
        """Return the UDP datagrams that are to be sent by this port's socket now. Without a socket they are lost."""

    def too_big(self, now: float) -> None:
        """Note that the kernel called a datagram of the last flush() too big (EMSGSIZE)."""


class ClientPort(Port, Protocol):
    """A port that asks for its socket.

    The shell looks at ``needs_socket`` after every call: when it is true, it resolves names and addresses, opens a
    socket in place of the previous one and answers with socket_ready() or socket_failed().
    """

    needs_socket: bool

    @property
    def remote(self) -> Address | None:
        """Where the socket that is needed has to lead: a connection waits for it. None: wherever the server is."""

    def socket_ready(self, remote: Address, now: float) -> None:
        """Start a handshake with ``remote``, or go on with the connection that waits: a socket to it is open."""

    def socket_lost(self, reason: str, now: float, *, moving: bool) -> None:
        """Note that the socket is closed: its address or interface is gone, when ``moving`` for another one."""

    def socket_failed(self, reason: str, now: float) -> None:
        """Try again soon: this host lacks an interface, an address, a route or a name.

        Whether there was a socket or not. A connection that there is waits for a while.
        """

    def send_failed(self, reason: str) -> None:
        """Note that the kernel refuses datagrams; explains an attempt that gets no answer."""

    def refused(self, now: float) -> None:
        """Note ICMP "port unreachable", a hint that the server is not running."""

    def link_changed(self, now: float) -> None:
        """Note that this host's links or addresses changed for the better: what waits need not wait longer."""


class Tunnel(Protocol):
    """One end of a tunnel."""

    #: Of this end as a whole; what a peer or a path counts for itself is in totals() as well.
    counters: Counters

    @property
    def state(self) -> str:
        """``up``, or what it does instead."""

    @property
    def reason(self) -> str:
        """Why it is in this state."""

    @property
    def since(self) -> float:
        """Since when (seconds)."""

    @property
    def connects(self) -> int:
        """Connections so far that became the tunnel, or a path of it."""

    @property
    def handshakes(self) -> int:
        """Handshakes so far that were begun, by this end or at it."""

    @property
    def outage(self) -> Outage:
        """How long it was not up."""

    @property
    def fault(self) -> Fault | None:
        """Why it was last not up, None when it always was, or was never tried."""

    @property
    def ports(self) -> Sequence[Port]:
        """All ports, in the order of the configuration. A client's are ClientPorts."""

    def touched(self) -> Sequence[Port]:
        """Return the ports that may have something to send since the last call. To be asked after every other call."""

    @property
    def connection(self) -> Connection | None:
        """The connection that stands for all in a status."""

    @property
    def session(self) -> str | None:
        """Id of that connection, None while it is not up."""

    @property
    def limit(self) -> float | None:
        """Bits per second to which a circuit breaker holds this end, None while all are closed."""

    @property
    def mtu(self) -> int | None:
        """Bytes of an inner packet that fit, None while unknown: then whatever the TUN has is right."""

    def totals(self) -> Counters:
        """Return what was carried and refused since the start."""

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""

    def send(self, reads: Sequence[bytes], now: float) -> None:
        """Take reads of the TUN."""

    def answers(self) -> list[Frame]:
        """Return what else to write to the TUN. To be asked after send() and fire()."""

    def fire(self, now: float) -> None:
        """Run what is due."""

    def deadline(self) -> float:
        """Return when fire() must be called next."""

    def close(self, now: float) -> None:
        """End every connection politely: flush() of every port afterwards returns the goodbyes."""

    def changes(self) -> list[Change]:
        """Return what happened since the last call, for the log."""
