# SPDX-License-Identifier: GPL-3.0-or-later
"""Which inner packets may pass, judged by source and destination address.

Both ends hold the other to what its key owns, as WireGuard's cryptokey routing does: RFC 9484 section 11 and BCP 38 ask
for no less. An answer is remembered per pair of addresses, so that a flow costs one look into a dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core.roster import Shared

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Sequence

    from mpquic.core.prefixes import PrefixTable
    from mpquic.core.roster import Member

#: Pairs of addresses that are remembered.
_REMEMBERED = 8192
_FIRST_BYTE_V6_MULTICAST = 0xFF
_V6_NOBODY = {bytes(16), bytes(15) + b"\x01"}
_V6_MAPPED = bytes(10) + b"\xff\xff"
_SHORTEST = 20


class Gate:
    """Asks ``judge(source, destination)``, addresses of 4 or 16 bytes, for the reason to refuse: "" for none."""

    def __init__(self, judge: Callable[[bytes, bytes], str]) -> None:
        """Start with nothing remembered."""
        self._judge = judge
        self._remembered: dict[bytes, str] = {}

    def fault(self, data: bytes, at: int) -> str:
        """Return why the well-formed IP packet at ``data[at:]`` may not pass, "" if it may."""
        pair = data[at + 12 : at + 20] if data[at] >> 4 == 4 else data[at + 8 : at + 40]
        found = self._remembered.get(pair)
        if found is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            half = len(pair) // 2
            found = self._remembered[pair] = self._judge(pair[:half], pair[half:])
        return found

    def passing(self, reads: Sequence[bytes], at: int, drops: Counter[str]) -> Sequence[bytes]:
        """Return the reads of a TUN whose packet, ``at`` bytes from their start, may pass; count the others."""
        faults = [self.fault(read, at) if len(read) >= at + _SHORTEST else "" for read in reads]
        if not any(faults):
            return reads
        drops.update(filter(None, faults))
        return [read for read, fault in zip(reads, faults, strict=True) if not fault]


#: Lets everything pass.
OPEN = Gate(lambda _source, _destination: "")


def towards_server(own: PrefixTable[bool]) -> Gate:
    """Return a client's gate for what its TUN gives: from what it registered, or the server would drop it."""
    return Gate(lambda source, _destination: "" if own.owner(source) else "source")


def from_server(own: PrefixTable[bool]) -> Gate:
    """Return a client's gate for what its server sends: from elsewhere, to what the client registered."""

    def judge(source: bytes, destination: bytes) -> str:
        if martian(source):
            return "martian"
        if own.owner(source):
            return "source"
        return "" if own.owner(destination) else "destination"

    return Gate(judge)


def from_peer(owner: Member, table: PrefixTable[Member | Shared], servers_own: Collection[bytes]) -> Gate:
    """Return a server's gate for one peer: only from the prefixes of ``owner``, to anything a packet can go to.

    ``servers_own`` are the addresses of the server's TUN.
    """

    def judge(source: bytes, destination: bytes) -> str:
        if martian(source) or source in servers_own or martian(destination):
            return "martian"
        found = table.owner(source)
        if isinstance(found, Shared):
            return "" if owner in found.owners else "source"
        return "" if found is owner else "source"

    return Gate(judge)


def martian(address: bytes) -> bool:
    """Tell whether no packet between hosts carries this address as its source (RFC 6890, RFC 1812 section 5.3.7).

    "This network", loopback, multicast and class E with limited broadcast; for IPv6 unspecified, loopback, multicast
    and IPv4-mapped addresses.
    """
    if len(address) == 4:
        return address[0] in {0, 127} or address[0] >= 224
    if address[0] == _FIRST_BYTE_V6_MULTICAST:
        return True
    return address in _V6_NOBODY or address.startswith(_V6_MAPPED)
