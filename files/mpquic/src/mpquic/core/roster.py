# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may be a server's peer, and which addresses are whose."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from mpquic.core import messages
from mpquic.core.prefixes import PrefixTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from mpquic.core.connection import Identity
    from mpquic.core.marking import OuterDscp
    from mpquic.core.types import Network


@dataclass(frozen=True, slots=True)
class Member:
    """One peer as the configuration lists it. One member is one tunnel; a key may have several."""

    name: str
    #: Prefixes from which it may send and which are sent to it, and to nobody else.
    allowed: tuple[Network, ...]
    #: Keys, ``sha256:<hex>``, or names that the CA vouches for, in lower case; either lets it in.
    pins: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    #: Bits per second and UDP datagrams per second that it may send, None for no limit.
    budget_rate: int | None = None
    budget_packets: int | None = None
    #: Set for a peer without a key, of the protocol ``mpquic-ip``: the networks it may come from.
    sources: tuple[Network, ...] = ()
    #: Prefixes that it has together with others: each may send from them, and is sent the answers.
    shared: tuple[Network, ...] = ()
    #: Of the datagrams that are sent to it.
    outer_dscp: OuterDscp = 0

    @property
    def prefixes(self) -> tuple[Network, ...]:
        """What it may register."""
        return (*self.allowed, *self.shared)

    def recognises(self, identity: Identity) -> bool:
        """Tell whether this is the peer that proved ``identity``."""
        # RFC 5280 section 7.2: DNS names are compared without regard to case.
        return identity.pin in self.pins or not self.names.isdisjoint([name.lower() for name in identity.names])


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Several members that own prefixes together, in the roster's order."""

    name: str
    owners: tuple[Member, ...]


class RefusalError(Exception):
    """A registration that is not to be. ``code`` is that of the wire (mpquic.core.messages)."""

    def __init__(self, code: int, reason: str) -> None:
        """Take the code and a reason that both ends may read."""
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Roster:
    """The peers of one server. A new configuration makes a new roster."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Take the members, whose prefixes do not overlap unless they share them."""
        self.members = tuple(members)
        #: Members that share prefixes, by a name that no member has.
        self.shared: dict[str, Shared] = {}
        self.table: PrefixTable[Member | Shared] = PrefixTable(
            [(prefix, member) for member in members for prefix in member.allowed] + self._together()
        )

    def name_of(self, identity: Identity) -> str:
        """Return the names of the members that an identity may be, for the log."""
        return ",".join([member.name for member in self.members if member.recognises(identity)])

    def claim(self, identity: Identity, prefixes: Sequence[Network]) -> Member:
        """Return the member that registers ``prefixes``, its TUN address first. Raises RefusalError."""
        if not any(member.recognises(identity) for member in self.members):
            raise RefusalError(messages.NOT_A_PEER, _stranger(identity))
        member = self.table.owner(prefixes[0].network_address.packed)
        if not isinstance(member, Member) or not member.recognises(identity):
            raise RefusalError(
                messages.NOT_ALLOWED, f"{prefixes[0].network_address} is not an address of this key's peer here"
            )
        for prefix in prefixes:
            if not any(_within(prefix, owned) for owned in member.prefixes):
                own = ", ".join(map(str, member.prefixes))
                raise RefusalError(
                    messages.NOT_ALLOWED, f"{prefix} is not within the prefixes of {member.name} here: {own}"
                )
        return member

    def legacy(self, source: str, address: bytes | None = None) -> Member | None:
        """Return a member without a key that may come from the UDP source ``source``, with this address if given."""
        where = ip_address(source)
        if address is not None:
            owner = self.table.owner(address)
            return owner if isinstance(owner, Member) and _comes_from(owner, where) else None
        return next((member for member in self.members if _comes_from(member, where)), None)

    def _together(self) -> list[tuple[Network, Member | Shared]]:
        """Return the shared prefixes. One that a single member lists is its own."""
        owners: dict[Network, list[Member]] = {}
        for member in self.members:
            for prefix in dict.fromkeys(member.shared):
                owners.setdefault(prefix, []).append(member)
        found: list[tuple[Network, Member | Shared]] = []
        for prefix, members in owners.items():
            name = " ".join([member.name for member in members])
            if len(members) == 1:
                found.append((prefix, members[0]))
            else:
                found.append((prefix, self.shared.setdefault(name, Shared(name, tuple(members)))))
        return found


def _within(prefix: Network, own: Network) -> bool:
    return prefix.version == own.version and prefix.subnet_of(own)  # type: ignore[arg-type]


def _comes_from(member: Member, where: IPv4Address | IPv6Address) -> bool:
    return any(where in network for network in member.sources)


def _stranger(identity: Identity) -> str:
    if identity.pin is None:
        return "no client certificate"
    why = f" ({identity.fault})" if identity.fault else ""
    return f"key {identity.pin} is no peer here{why}"
