# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's end of a tunnel over several paths: an uplink for each, and one bundle for what goes through them.

The tunnel is up as soon as one path is; the others are looked for all the time. The server ties the paths together by
the client's key and a session id, made anew at each start. It answers with an epoch, made anew for each end of the
tunnel that it keeps: another epoch means that the server has forgotten what it sent and received.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpquic.core import messages, wire
from mpquic.core.multipath import policy_wire
from mpquic.core.multipath.bundle import Bundle
from mpquic.core.multipath.leg import Leg
from mpquic.core.multipath.renewals import Renewals
from mpquic.core.multipath.scheduler import standing
from mpquic.core.registration import ClientJoin
from mpquic.core.schedule import Schedule
from mpquic.core.state import StateMachine
from mpquic.core.types import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mpquic.core.client import Settings
    from mpquic.core.connection import Connection
    from mpquic.core.multipath.policy import PathSpec, Policy
    from mpquic.core.offload import Codec
    from mpquic.core.path import Path
    from mpquic.core.types import Address, Change, Frame

#: Seconds between two policies that the server is told: each is work for it, and it bears 16 at once and then one a
#: second.
TELL_EVERY = 1.0


class MultipathClient(StateMachine):
    """State machine of a client with several paths. Implements mpquic.core.port.Tunnel; its ports are its legs."""

    def __init__(  # noqa: PLR0913, PLR0917 - what ClientTunnel takes, and the paths
        self,
        connect: Callable[[Address, float], Connection],
        random: Callable[[int], bytes],
        now: float,
        settings: Settings,
        policy: Policy,
        rates: Mapping[int, int | None],
    ) -> None:
        """Start by asking for a socket for every path of ``policy``.

        ``connect`` and ``random`` as for Uplink. ``rates`` are those of the links towards the server, by number of the
        path (bits per second, None or absent if unknown). ``settings.rate`` and ``settings.legacy`` have no meaning.
        """
        super().__init__("waiting", "starting", now)
        self.connect = connect
        self.random = random
        self._settings = settings
        self._session = random(messages.ID_LENGTH)
        #: The server's, None before there was one.
        self.epoch: bytes | None = None
        self.counters = Counters()
        self.bundle = Bundle(policy, self.counters, now, server=False)
        self._outbound, self.bundle.gate = settings.gates()
        self._header = 0
        self.legs: tuple[Leg, ...] = ()
        #: Those of paths that are no more, as long as they take what is on its way.
        self.leaving: tuple[Leg, ...] = ()
        self._by_path: dict[Path, Leg] = {}
        #: Legs that may have something to send; those whose deadline or news may be others than before.
        self._touched: dict[Leg, None] = {}
        self._stirred: dict[Leg, None] = {}
        self._schedule: Schedule[Leg] = Schedule()
        self._renewals = Renewals()
        #: Of paths that are no more.
        self._past = Counters()
        self._past_connects = self._past_handshakes = 0
        self._policy, self._encoded = policy, policy_wire.encode(policy)
        #: When the server was told a policy last, beside by who joins, and when it is to be told the newest.
        self._told_at = -math.inf
        self._tell_at = math.inf
        self._arrange(policy, rates, now)

    # --- what is asked about it -------------------------------------------------------------------------------------

    @property
    def ports(self) -> tuple[Leg, ...]:
        """Its legs, in the order of the policy's paths."""
        return self.legs

    @property
    def connection(self) -> Connection | None:
        """The connection of the best path, or one that is to be that of a path."""
        leg = self._best()
        if leg is not None:
            return leg.connection
        return next((leg.connection for leg in self.legs if leg.connection is not None), None)

    @property
    def session(self) -> str | None:
        """Id of the best path's connection."""
        leg = self._best()
        return leg.session if leg is not None else None

    @property
    def limit(self) -> float | None:
        """Bits per second to which the circuit breaker holds the narrowest path, None while all are closed."""
        return min((leg.path.lane.limit for leg in self.legs if leg.path.lane.limit is not None), default=None)

    @property
    def mtu(self) -> int | None:
        """Bytes of an inner packet that fit every path in use, None while unknown."""
        return self.bundle.mtu

    @property
    def connects(self) -> int:
        """Connections so far that became a path."""
        return self._past_connects + sum([leg.connects for leg in self.legs])

    @property
    def handshakes(self) -> int:
        """Handshakes so far that were begun."""
        return self._past_handshakes + sum([leg.handshakes for leg in self.legs])

    def totals(self) -> Counters:
        """Return what was carried since the start, every packet once, and what was refused, also by single paths."""
        totals = Counters()
        totals.add(self.counters)
        totals.drops.update(self._past.drops)
        for leg in (*self.legs, *self.leaving):
            totals.drops.update(leg.path.counters.drops)
        return totals

    def touched(self) -> list[Leg]:
        """Return the legs that may have something to send since the last call."""
        self._touch_paths(self.bundle.touched())
        touched, self._touched = self._touched, {}
        self._stirred.update(touched)
        return list(touched)

    # --- what the shell reports -------------------------------------------------------------------------------------

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self._header = codec.header
        self.bundle.attach(codec)

    def send(self, reads: Sequence[bytes], now: float) -> None:
        """Take reads of the TUN."""
        passing = self._outbound.passing(reads, self._header, self.counters.drops)
        self._touch_paths(self.bundle.send(passing, now))

    def answers(self) -> list[Frame]:
        """Return what else to write to the TUN: packets that waited for others, answers to those that did not fit."""
        return self.bundle.released()

    def fire(self, now: float) -> None:
        """Run what is due."""
        for leg in self._schedule.due(now):
            leg.fire(now)
        self._part()
        self.bundle.fire(now)
        self._renewals.advance(self.connect, now)
        if now >= self._tell_at:
            self._tell_at = math.inf
            for leg in self.legs:
                if leg.behind:
                    self._told_at = now
                    leg.tell(now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        for leg in (*self._stirred, *self._touched):
            self._schedule.put(leg, leg.deadline())
        self._stirred.clear()
        return min(self._schedule.next(), self.bundle.deadline(), self._tell_at)

    def renew(self, connect: Callable[[Address, float], Connection], now: float, *, redial: bool) -> None:
        """Make connections this way from now on, and with ``redial`` new ones in place of all, one path at a time."""
        self.connect = connect
        for leg in self.legs:
            leg.renew(connect, now, redial=False)
        if redial:
            self._renewals.plan(self.legs)
            self._renewals.advance(connect, now)

    def reconfigure(self, policy: Policy, rates: Mapping[int, int | None], now: float) -> None:
        """Follow ``policy``, of a higher generation, over its paths from now on.

        Paths are told apart by their numbers. Those that it has no more send nothing new: their legs are in ``leaving``
        as long as they take what is on its way, and touched() returns them for their goodbyes. Connections of the
        others go on. The server is told with the next fire(), or later if it was told another policy just before.
        """
        self._policy, self._encoded = policy, policy_wire.encode(policy)
        self._arrange(policy, rates, now)
        self._tell_soon(now)

    def hold(self, now: float) -> None:
        """Make no new connection until go_on(); see Uplink.hold()."""
        for leg in self.legs:
            leg.hold(now)
            self.touch(leg)

    def go_on(self) -> None:
        """Make connections again."""
        for leg in self.legs:
            leg.go_on()
            self.touch(leg)

    @property
    def over(self) -> bool:
        """Tell whether no connection is left."""
        return all(leg.over for leg in (*self.legs, *self.leaving))

    def close(self, now: float, *, linger: bool = False) -> None:
        """End every connection politely: flush() of every leg afterwards returns the goodbyes; see Uplink.close()."""
        self._renewals.plan(())
        # Before the legs are: that none is up then is no news.
        self._enter("stopped", "told to stop", now)
        for leg in (*self.legs, *self.leaving):
            leg.close(now, linger=linger)

    def changes(self) -> list[Change]:
        """Return what happened since the last call, for the log."""
        changes, self._changes = self._changes, []
        changes += self.bundle.changes()
        for leg in {**self._stirred, **self._touched}:
            changes += leg.changes()
        return changes

    # --- what the legs ask and say (mpquic.core.multipath.leg.Membership) -------------------------------------------

    def policy(self) -> tuple[int, bytes]:
        """Return the present policy's generation, and the policy as it is sent."""
        return self._policy.generation, self._encoded

    def registration(self, leg: Leg, policy: bytes) -> ClientJoin:
        """Return what makes a new connection of ``leg`` a path of this tunnel."""
        number = self.random(messages.ID_LENGTH)
        return ClientJoin(number, self._settings.prefixes, session=self._session, path=leg.path.number, policy=policy)

    def joined(self, leg: Leg, epoch: bytes, now: float) -> None:
        """Note that a connection of ``leg`` is a path of this tunnel, which has this ``epoch`` at the server."""
        if epoch != self.epoch:
            if self.epoch is not None:
                self.bundle.restart(now)
            self.epoch = epoch
            for each in self.legs:
                each.leave(epoch, now)
        if leg.behind:
            self._tell_soon(now)
        self.touch(leg)

    def touch(self, leg: Leg) -> None:
        """Note that ``leg`` may have something to send, or another deadline."""
        self._touched[leg] = None

    def entered(self, leg: Leg, now: float) -> None:
        """Note that ``leg`` is in another state."""
        if self.state == "stopped":
            return
        states = {each.state for each in self.legs}
        state = next((each for each in ("up", "connecting") if each in states), "waiting")
        if state == self.state:
            return
        if state == "up":
            self._enter(state, "connected", now, detail=f"path={leg.spec.name}")
        else:
            self._enter(state, self._why(), now, failed=state == "waiting" or self.state == "up")

    # --- inside -----------------------------------------------------------------------------------------------------

    def _arrange(self, policy: Policy, rates: Mapping[int, int | None], now: float) -> None:
        """Make the legs those of ``policy``."""
        known = {leg.path.number: leg for leg in self.legs}
        self.legs = tuple([self._leg(known.pop(spec.number, None), spec, rates, now) for spec in policy.paths])
        for leg in known.values():
            leg.close(now, linger=True)
            self.leaving += (leg,)
            self.touch(leg)
            self._past_connects += leg.connects
            self._past_handshakes += leg.handshakes
        self._by_path = {leg.path: leg for leg in self.legs}
        self._renewals.keep(self.legs)
        self.bundle.configure(policy, {leg.path.number: leg.path for leg in self.legs}, now)

    def _part(self) -> None:
        """Forget the legs of paths that are no more once they have taken everything."""
        for leg in self.leaving:
            if leg.over:
                self._schedule.discard(leg)
                self._past.drops.update(leg.path.counters.drops)
        self.leaving = tuple([leg for leg in self.leaving if not leg.over])

    def _leg(self, known: Leg | None, spec: PathSpec, rates: Mapping[int, int | None], now: float) -> Leg:
        rate = rates.get(spec.number)
        if known is None:
            path = self._settings.path(spec.number, spec.name, rate, front=wire.SEQUENCED_OVERHEAD, link=spec.link)
            path.ping_interval = spec.ping_interval
            return Leg(now, path, spec, self)
        known.spec = spec
        known.ping_every(spec.ping_interval)
        known.path.name, known.path.link = spec.name, spec.link
        known.path.lane.set_rate(rate)
        self.touch(known)
        return known

    def _best(self) -> Leg | None:
        """Return the leg that carries what has no reason to go elsewhere."""
        up = [leg for leg in self.legs if leg.state == "up" and leg.path.health is not None]
        return min(up, key=lambda leg: standing(leg.path, leg.spec), default=None)

    def _tell_soon(self, now: float) -> None:
        """Plan to tell the server the newest policy."""
        self._tell_at = max(now, self._told_at + TELL_EVERY)

    def _touch_paths(self, paths: Sequence[Path]) -> None:
        for path in paths:
            leg = self._by_path.get(path)
            if leg is not None:
                self._touched[leg] = None

    def _why(self) -> str:
        """Return why no path is up."""
        reasons = list(dict.fromkeys([leg.reason for leg in self.legs]))
        if len(reasons) == 1:
            return f"no path is up: {reasons[0]}"
        return "no path is up: " + "; ".join([f"{leg.spec.name}: {leg.reason}" for leg in self.legs])
