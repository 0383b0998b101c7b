# SPDX-License-Identifier: GPL-3.0-or-later
"""One peer's tunnel at a server: what outlives its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import gate
from mpquic.core.budget import Budget
from mpquic.core.fit import Fit
from mpquic.core.lane import Lane
from mpquic.core.offload.legacy import LegacyCodec
from mpquic.core.types import Counters

if TYPE_CHECKING:
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.core.guest import Guest
    from mpquic.core.offload import Codec
    from mpquic.core.prefixes import PrefixTable
    from mpquic.core.roster import Member


class Session:
    """The state of one member's tunnel."""

    def __init__(self, member: Member, rate: int | None, own: IPv4Interface | IPv6Interface | None, now: float) -> None:
        """Begin without a connection; see ServerTunnel for ``rate`` and ``own``."""
        self.member = member
        self.counters = Counters()
        self.lane = Lane(self.counters, rate)
        self.fit = Fit(self.lane, own)
        #: The connection that is the tunnel now.
        self.guest: Guest | None = None
        self.connects = 0
        self.since = now
        self.reason = "waiting for the peer"
        self._own = own
        self.budget = Budget(packets=None, rate=None)

    @property
    def legacy(self) -> bool:
        """Tell whether the peer speaks the protocol without identities."""
        return bool(self.member.sources)

    def configure(self, member: Member, table: PrefixTable[Member]) -> None:
        """Hold the peer to this from now on."""
        if (member.budget_packets, member.budget_rate) != (self.member.budget_packets, self.member.budget_rate) or (
            self.connects == 0
        ):
            self.budget = Budget(packets=member.budget_packets, rate=member.budget_rate)
        self.member = member
        own = self._own.ip.packed if self._own is not None else None
        self.lane.gate = gate.from_peer(member, table, own)

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self.lane.codec = LegacyCodec(codec) if self.legacy else codec
