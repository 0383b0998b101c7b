# SPDX-License-Identifier: GPL-3.0-or-later
"""The DSCP of outer packets, for networks on the way that treat classes differently: one per tunnel, or per packet.

RFC 2983 calls both models of a tunnel: one mark for the whole of it (pipe), or that of the packet inside (uniform). The
ECN bits are 0: what the network says there is for the ends of a flow, and would not reach them (RFC 6040 section 4.3).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, Literal, Protocol

from mpquic.core import wire
from mpquic.core.types import Marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.types import Address, Datagram

#: A DSCP (0 to 63), or that of each packet inside.
OuterDscp = int | Literal["copy"]
COPY: Final = "copy"
#: The DSCP within the octet; the other two bits are ECN (RFC 3168 section 5).
_DSCP = 0xFC


class Marking(Protocol):
    """How the datagrams of one tunnel are marked."""

    def seal(self, payloads: Sequence[bytes], connection: Connection, now: float) -> tuple[list[Datagram], int]:
        """Return what ``connection.seal`` does, marked."""

    def others(self, datagrams: list[Datagram]) -> list[Datagram]:
        """Return datagrams that carry no inner packet, marked."""


def marking(dscp: OuterDscp, *, front: int = wire.OVERHEAD) -> Marking | None:
    """Return how to mark, None for not at all. ``front`` is the bytes of a payload before the IP packet."""
    if dscp == COPY:
        return Copied(front)
    return Fixed(dscp) if dscp else None


class Fixed:
    """One DSCP for everything."""

    def __init__(self, dscp: int) -> None:
        """Take the DSCP (1 to 63)."""
        self._tos = dscp << 2

    def seal(self, payloads: Sequence[bytes], connection: Connection, now: float) -> tuple[list[Datagram], int]:
        """See Marking."""
        datagrams, taken = connection.seal(payloads, now)
        return _marked(datagrams, self._tos), taken

    def others(self, datagrams: list[Datagram]) -> list[Datagram]:
        """See Marking."""
        return _marked(datagrams, self._tos)


class Copied:
    """The DSCP of the packet inside; 0 where there is none."""

    def __init__(self, front: int) -> None:
        """Take the bytes of a payload before the IP packet."""
        self._front = front

    def seal(self, payloads: Sequence[bytes], connection: Connection, now: float) -> tuple[list[Datagram], int]:
        """See Marking. Packets of different DSCPs share no datagram, and may overtake each other within a call."""
        # A window may take a part of them, and then the order counts: what is not taken is the rest.
        batches = self._runs(payloads) if connection.congestion_controlled else self._sorted(payloads)
        # What else is to be said leaves before and after the packets, so that it is not among them.
        datagrams, taken = connection.seal([], now)
        for tos, batch in batches:
            sealed, count = connection.seal(batch, now)
            datagrams += _marked(sealed, tos) if tos else sealed
            datagrams += connection.seal([], now)[0]
            taken += count
            if count < len(batch):
                break
        return datagrams, taken

    def others(self, datagrams: list[Datagram]) -> list[Datagram]:
        """See Marking."""
        return datagrams

    def _sorted(self, payloads: Sequence[bytes]) -> Iterable[tuple[int, list[bytes]]]:
        found: dict[int, list[bytes]] = {}
        for payload in payloads:
            found.setdefault(self._tos(payload), []).append(payload)
        return found.items()

    def _runs(self, payloads: Sequence[bytes]) -> Iterable[tuple[int, list[bytes]]]:
        return [(tos, list(run)) for tos, run in groupby(payloads, self._tos)]

    def _tos(self, payload: bytes) -> int:
        first, second = payload[self._front : self._front + 2]
        # RFC 791 section 3.1; RFC 8200 section 3: the traffic class spans the first two octets.
        return (second if first >> 4 == 4 else (first & 0x0F) << 4 | second >> 4) & _DSCP


def _marked(datagrams: Sequence[Datagram], tos: int) -> list[Datagram]:
    marked: list[Datagram] = []
    last: Address | None = None
    to: Address = ()
    for data, address in datagrams:
        if address is not last:
            last, to = address, Marked(address, tos)
        marked.append((data, to))
    return marked
