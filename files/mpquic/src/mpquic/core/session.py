# SPDX-License-Identifier: GPL-3.0-or-later
"""One peer's tunnel at a server: what outlives its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import gate, wire
from mpquic.core.budget import Budget
from mpquic.core.fit import Fit
from mpquic.core.icmp import TooBig
from mpquic.core.lane import Lane
from mpquic.core.marking import marking
from mpquic.core.offload.legacy import LegacyCodec
from mpquic.core.types import Counters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.core.guest import Guest
    from mpquic.core.offload import Codec
    from mpquic.core.prefixes import PrefixTable
    from mpquic.core.roster import Member, Shared


class Session:
    """The state of one member's tunnel."""

    def __init__(
        self, member: Member, rate: int | None, own: Sequence[IPv4Interface | IPv6Interface], now: float
    ) -> None:
        """Begin without a connection; see ServerTunnel for ``rate`` and ``own``."""
        self.member = member
        self.counters = Counters()
        self.lane = Lane(self.counters, rate, front=0 if member.sources else wire.OVERHEAD)
        self.fit = Fit(self.lane, TooBig(*own))
        #: The connection that is the tunnel now.
        self.guest: Guest | None = None
        self.connects = 0
        self.since = now
        self.reason = "waiting for the peer"
        self._own = frozenset(interface.ip.packed for interface in own)
        self.budget = Budget(packets=None, rate=None)

    @property
    def legacy(self) -> bool:
        """Tell whether the peer speaks the protocol without identities."""
        return bool(self.member.sources)

    def configure(self, member: Member, table: PrefixTable[Member | Shared]) -> None:
        """Hold the peer to this from now on."""
        if (member.budget_packets, member.budget_rate) != (self.member.budget_packets, self.member.budget_rate) or (
            self.connects == 0
        ):
            self.budget = Budget(packets=member.budget_packets, rate=member.budget_rate)
        self.member = member
        self.lane.gate = gate.from_peer(member, table, self._own)
        self.lane.marking = marking(member.outer_dscp, front=self.lane.front)

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self.lane.codec = LegacyCodec(codec) if self.legacy else codec
