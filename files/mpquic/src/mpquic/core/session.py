# SPDX-License-Identifier: GPL-3.0-or-later
"""One peer's tunnel at a server: what outlives its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from mpquic.core import gate, messages, wire
from mpquic.core.budget import Bucket, Budget
from mpquic.core.fit import Fit
from mpquic.core.gate import OPEN
from mpquic.core.icmp import TooBig
from mpquic.core.lane import Lane
from mpquic.core.marking import marking
from mpquic.core.multipath import policy_wire
from mpquic.core.multipath.gathering import Gathering
from mpquic.core.multipath.scheduler import standing
from mpquic.core.offload.legacy import LegacyCodec
from mpquic.core.path import Path
from mpquic.core.roster import RefusalError
from mpquic.core.state import Fault, Outage
from mpquic.core.types import Counters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.core.guest import Guest
    from mpquic.core.multipath.bundle import Bundle
    from mpquic.core.multipath.policy import PathSpec, Policy
    from mpquic.core.offload import Codec
    from mpquic.core.prefixes import PrefixTable
    from mpquic.core.roster import Member, Shared


#: Policies of one peer that count, at once; then one per second. Each means work for the server.
MAX_POLICIES = 16


class Session:
    """The state of one member's tunnel: over the one path that there always is, or over those of a gathering."""

    def __init__(
        self, member: Member, rate: int | None, own: Sequence[IPv4Interface | IPv6Interface], now: float
    ) -> None:
        """Begin without a connection; see ServerTunnel for ``rate`` and ``own``."""
        self.member = member
        #: Inner packets, each counted once.
        self.counters = Counters()
        self._answers = TooBig(*own)
        lane = Lane(self.counters, rate, front=0 if member.sources else wire.OVERHEAD)
        #: The path of a client that has one.
        self.path = Path(0, "", lane, Fit(lane, self._answers))
        #: The connections that are the tunnel now, by the number of their path.
        self.guests: dict[int, Guest] = {}
        #: What the client joined, None while it has one path.
        self.gathering: Gathering | None = None
        self.bundle: Bundle | None = None
        self.connects = 0
        self.since = now
        self.reason = "waiting for the peer"
        self.outage = Outage(now)
        #: Why it was last without a connection.
        self.fault: Fault | None = None
        self.budget = Budget(packets=None, rate=None)
        self._rate = rate
        self._own = frozenset(interface.ip.packed for interface in own)
        self._gate = OPEN
        self._codec: Codec | None = None
        self._policies = Bucket(1.0, MAX_POLICIES)
        #: All that connections on their way belong to, by the client's id; nothing is kept that none belongs to.
        self._gatherings: WeakValueDictionary[bytes, Gathering] = WeakValueDictionary()

    @property
    def legacy(self) -> bool:
        """Tell whether the peer speaks the protocol without identities."""
        return bool(self.member.sources)

    @property
    def paths(self) -> dict[int, Path]:
        """All paths by number; the only one of a client that has one is number 0."""
        return {0: self.path} if self.gathering is None else self.gathering.paths

    @property
    def policy(self) -> Policy | None:
        """How packets are spread over several paths."""
        return self.gathering.policy if self.gathering is not None else None

    @property
    def guest(self) -> Guest | None:
        """The connection that stands for all: that of the best path, as the client's own policy orders them."""
        if self.policy is None:
            return self.guests.get(0)
        # A connection that came anew is the last of the guests: their order says nothing.
        specs = [spec for spec in self.policy.paths if spec.number in self.guests]
        best = min(specs, key=lambda spec: standing(self.paths[spec.number], spec), default=None)
        return self.guests[best.number] if best is not None else None

    @property
    def mtu(self) -> int | None:
        """Bytes of an inner packet that fit to this peer, None while unknown."""
        return self.path.fit.mtu if self.bundle is None else self.bundle.mtu

    @property
    def limit(self) -> float | None:
        """Bits per second to which the circuit breaker holds its narrowest path, None while all are closed."""
        limits = [path.lane.limit for path in self.paths.values()]
        return min((limit for limit in limits if limit is not None), default=None)

    def totals(self) -> Counters:
        """Return what it carried and refused; of several paths, what was dropped on each as well."""
        totals = Counters()
        totals.add(self.counters)
        if self.gathering is not None:
            for path in self.gathering.paths.values():
                totals.drops.update(path.counters.drops)
        return totals

    # --- configuration ----------------------------------------------------------------------------------------------

    def configure(
        self, member: Member, table: PrefixTable[Member | Shared], own: Sequence[IPv4Interface | IPv6Interface]
    ) -> None:
        """Hold the peer to this from now on; ``own`` are the server's addresses, see ServerTunnel."""
        if (member.budget_packets, member.budget_rate) != (self.member.budget_packets, self.member.budget_rate) or (
            self.connects == 0
        ):
            self.budget = Budget(packets=member.budget_packets, rate=member.budget_rate)
        self.member = member
        self._answers.move(*own)
        self._own = frozenset(interface.ip.packed for interface in own)
        self._gate = self.path.lane.gate = gate.from_peer(member, table, self._own)
        if self.bundle is not None:
            self.bundle.gate = self._gate
        for path in {self.path, *self.paths.values()}:
            path.lane.marking = marking(member.outer_dscp, front=path.lane.front)

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self._codec = codec
        self.path.lane.codec = LegacyCodec(codec) if self.legacy else codec
        if self.bundle is not None:
            self.bundle.attach(codec)

    # --- several paths ----------------------------------------------------------------------------------------------

    def gather(self, number: bytes) -> Gathering:
        """Return what the connections of this session id of the client have in common."""
        found = self._gatherings.get(number)
        if found is None or found.over:
            found = self._gatherings[number] = Gathering()
        return found

    def open(self, gathering: Gathering | None, now: float) -> list[Guest]:
        """Be the tunnel over the path there always is, or over others; return the connections that are no part of it.

        Nothing is sent or taken over the paths of a gathering before it has been told how, see follow().
        """
        if gathering is self.gathering:
            return []
        former = list(self.guests.values())
        for guest in former:
            self.leave(guest, "superseded", now)
        if self.gathering is not None:
            self.gathering.over = True
            self.gathering.retire(self.counters)
        self.gathering, self.bundle = gathering, None
        return former

    def news(self, gathering: Gathering, said: bytes, now: float, *, joining: bool) -> Policy | None:
        """Return the policy that these bytes say, None when something as new is known.

        Raises ProtocolError, and RefusalError when there were too many. One of these counts once, whichever connections
        say it: the one that was ended for it says it again when ``joining``, and so do those that join later.
        """
        if not joining and policy_wire.generation(said) <= gathering.refused:
            return None
        policy = gathering.news(said)
        if policy is not None and not self._policies.take(now):
            gathering.refused = max(gathering.refused, policy.generation)
            raise RefusalError(messages.NOT_ALLOWED, f"found more than {MAX_POLICIES} policies in short time")
        return policy

    def follow(self, gathering: Gathering, said: bytes, policy: Policy, now: float) -> list[Guest]:
        """Spread packets like ``policy``, which was ``said`` so; return the connections whose paths are gone."""
        gone = [self.guests[number] for number in gathering.surplus(policy) if number in self.guests]
        for guest in gone:
            guest.removed = guest.path
            self.leave(guest, "path removed", now)
        gathering.follow(said, policy, self._make_path, self.counters, now)
        if self.bundle is not gathering.bundle:
            self.bundle = gathering.bundle
            assert self.bundle is not None
            self.bundle.gate = self._gate
            if self._codec is not None:
                self.bundle.attach(self._codec)
        return gone

    def enter(self, guest: Guest, now: float) -> Guest | None:
        """Take a connection for its path; return the one that was there before."""
        path = self.paths[guest.number]
        previous = self.guests.get(guest.number)
        self.guests[guest.number] = guest
        guest.path, path.connection = path, guest.connection
        path.samples.follow(guest.connection.clock)
        if previous is not None:
            previous.path = None
            path.lane.move()
        path.fit.start(guest.connection, guest.ceiling, now)
        if self.bundle is not None:
            self.bundle.connected(path, now)
        return previous

    def leave(self, guest: Guest, reason: str, now: float) -> None:
        """Do without a connection that was entered."""
        path, guest.path = guest.path, None
        if path is None:
            return
        del self.guests[path.number]
        if self.bundle is not None:
            self.bundle.lost(path, reason, now)
        path.connection = None
        path.lane.reset()
        path.fit.stop()

    def _make_path(self, spec: PathSpec, known: Path | None, capacity: int) -> Path:
        rate = spec.rate_down or self._rate
        if known is not None:
            known.name, known.link = spec.name, spec.link
            known.lane.set_rate(rate)
            return known
        lane = Lane(Counters(), rate, front=wire.SEQUENCED_OVERHEAD, capacity=capacity)
        lane.marking = marking(self.member.outer_dscp, front=lane.front)
        return Path(spec.number, spec.name, lane, Fit(lane, self._answers), link=spec.link)
