# SPDX-License-Identifier: GPL-3.0-or-later
"""Which path each packet takes: by its class, then by its flow."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, NamedTuple

from mpquic.core.multipath.classifier import Classifier
from mpquic.core.multipath.flowtable import FlowTable, quick_key
from mpquic.core.multipath.health import RANK_SUSPECT
from mpquic.core.multipath.hearing import Hearing
from mpquic.core.multipath.rebalance import Rebalancer
from mpquic.core.multipath.scheduler import GOOD, Plan, rank

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mpquic.core.multipath.conversation import Flow
    from mpquic.core.multipath.policy import Policy
    from mpquic.core.multipath.way import Way
    from mpquic.core.path import Path
    from mpquic.core.types import Frame

#: Seconds between two measurements of rates.
TICK = 0.25
#: Seconds for which a suspected path gets copies of the flows that left it.
SHADOW = 1.0
#: Seconds after a planned move in which the receiver is to keep the order, and the same in differences of round trips.
ORDERED = 0.05
ORDERED_SPREAD = 1.25
#: Seconds, beside a round trip, after which nothing of a flow is under way any more: queues hold no packet for longer.
_LINGERING = 0.2
#: Seconds that stand for a round trip that was never measured.
_UNKNOWN_RTT = 0.5


class Share(NamedTuple):
    """What some reads of the TUN have in common: the way of their flows."""

    way: Way
    #: The bucket of each read, and the reads, flow by flow in order, as they were given to spread().
    buckets: list[int]
    reads: list[bytes]


class Spreader:
    """Sorts reads into flows, and gives each flow its class and path. Knows nothing of sequence numbers and queues."""

    def __init__(self, policy: Policy, *, turned: bool) -> None:
        """Begin without paths. ``turned``: this is the server, rules match with source and destination swapped."""
        self._turned = turned
        self._table = FlowTable()
        self._hearing = Hearing(self._table)
        self._rebalancer = Rebalancer(self._choices)
        #: Flows of which something was read since rates were measured, and since when that is.
        self._active: list[Flow] = []
        self._since = 0.0
        #: By path: since when it is suspected.
        self._suspected: dict[Path, float] = {}
        #: Those that carry no IPv6.
        self._narrow: frozenset[Path] = frozenset()
        #: By the index of the class, and whether it is that for IPv6 beside a narrow path: made when a packet needs
        #: one; and what they were until the last change.
        self._plans: dict[tuple[int, bool], Plan] = {}
        self._before: dict[tuple[int, bool], Plan] = {}
        #: How often the policy changed, and how often what follows from it or from the state of the paths.
        self._version = 0
        self._state = 0
        self.configure(policy, {}, 0.0)

    def configure(self, policy: Policy, paths: Mapping[int, Path], now: float) -> None:
        """Go on with this policy and these paths (by number); flows stay where they may."""
        self._policy = policy
        self._paths = dict(paths)
        self._classifier = Classifier(policy, turned=self._turned)
        self._version += 1
        self._table.deafen()
        self.refresh(now)

    def refresh(self, now: float) -> None:
        """Look at the paths anew, how good and how narrow they are. Each flow follows with its next packet."""
        before = self._suspected
        self._suspected = {p: before.get(p, now) for p in self._paths.values() if rank(p) == RANK_SUSPECT}
        self._narrow = _narrow(self._paths)
        known, count = self._before | self._plans, len(self._policy.classes)
        self._before = {key: plan for key, plan in known.items() if key[0] < count}
        self._plans = {}
        self._state += 1

    def spread(self, reads: Sequence[bytes], at: int, now: float) -> list[Share]:
        """Return one share per way, flows in the order of their first reads; packets begin at ``at`` of their read."""
        if self._narrow != _narrow(self._paths):
            # Nobody tells when the MTU of a path becomes known, and what a narrow one refuses is answered.
            self.refresh(now)
        table = self._table
        known = table.known.get
        gathered: dict[Flow, list[bytes]] = {}
        gathering = gathered.get
        for read in reads:
            try:
                flow = known(quick_key(read, at))
            except (IndexError, struct.error):
                flow = None
            if flow is None:
                flow = table.flow(read, at)
            others = gathering(flow)
            if others is None:
                gathered[flow] = [read]
            else:
                others.append(read)
        if not self._active and not self._rebalancer:
            self._since = now
        return self._shares(gathered, now)

    def heard(self, frames: Iterable[Frame], at: int, class_index: int, path: Path, now: float) -> None:
        """Take note of packets that the peer sent in this class and by this path, each at ``at`` of its frame.

        The answers get that class, and that path where it is as good as others.
        """
        if class_index < len(self._policy.classes):
            self._hearing.heard(frames, at, class_index, path, now)

    def fire(self, now: float) -> None:
        """Measure rates and move what is too much for its path, when that is due."""
        if now < self.deadline():
            return
        active, self._active = self._active, []
        self._rebalancer.measure(active, now - self._since)
        self._since = now
        move = self._rebalancer.move(now)
        if move is not None:
            flow, path = move
            flow.pinned = True
            self._send(flow, path, now)

    def deadline(self) -> float:
        """Return when fire() must be called, infinity for never."""
        return self._since + TICK if self._active or self._rebalancer else math.inf

    def _plan(self, flow: Flow) -> Plan:
        """Return the plan that a flow goes by."""
        avoided = self._narrow if self._narrow and flow.fields.ipv6 else ()
        key = flow.class_index, bool(avoided)
        plan = self._plans.get(key)
        if plan is None:
            one = self._policy.classes[flow.class_index]
            plan = self._plans[key] = Plan(self._policy, one, self._paths, self._before.get(key), avoided=avoided)
        return plan

    # --- one flow ---------------------------------------------------------------------------------------------------

    def _shares(self, gathered: Mapping[Flow, list[bytes]], now: float) -> list[Share]:
        """Return what was gathered of flows, and where it goes."""
        table, state, active = self._table, self._state, self._active
        used_up = table.made - table.patience
        shares: dict[Way, Share] = {}
        for flow, reads in gathered.items():
            if flow.placed != state or now >= flow.until:
                self._place(flow, now)
            way = flow.way
            share = shares.get(way)
            if share is None:
                share = shares[way] = Share(way, [], [])
            _way, buckets, together = share
            if len(reads) == 1:
                octets = len(reads[0])
                buckets.append(flow.bucket)
                together.append(reads[0])
            else:
                octets = sum(map(len, reads))
                buckets += [flow.bucket] * len(reads)
                together += reads
            if flow.octets:
                flow.octets += octets
            else:
                flow.octets = octets
                active.append(flow)
            flow.last = now
            if flow.used < used_up:
                table.remember(flow)
        return list(shares.values())

    def _place(self, flow: Flow, now: float) -> None:
        """Find the path of a flow anew."""
        if flow.classified != self._version:
            flow.class_index = self._class_of(flow)
            flow.classified = self._version
            # Of what class it was chosen is not known any more.
            flow.chosen = None
        flow.placed = self._state
        plan = self._plan(flow)
        here, came_by = flow.path, flow.conversation.came_by
        if flow.pinned and here in plan.weights:
            path = here
        elif came_by in plan.weights and plan.copies == 1 and not plan.spray:
            path = came_by
        else:
            flow.pinned = False
            path = _home(flow, plan)
        self._send(flow, path, now)

    def _class_of(self, flow: Flow) -> int:
        """Return the class in which the peer sends its part of the conversation, or else the one of the first rule."""
        conversation = flow.conversation
        if conversation.said is not None:
            return conversation.classes.get(flow.fields.dscp, conversation.said)
        return self._classifier.classify(flow.fields)

    def _send(self, flow: Flow, path: Path | None, now: float) -> None:
        """Let a flow take this path from now on, and settle what else its packets need."""
        plan = self._plan(flow)
        way, (before, flow.path) = flow.way, (flow.path, path)
        if before is not path and before is not None and path is not None:
            flow.shadow = before if before in self._suspected else None
            if rank(before) <= GOOD and now - flow.last < _LINGERING + _rtt(before):
                spread = abs(_rtt(before) - _rtt(path))
                flow.ordered_until = now + max(ORDERED, ORDERED_SPREAD * spread)
        if path is None:
            flow.way, flow.until = plan.way(flow.class_index, (), ordered=False), math.inf
            return
        sprayed = plan.spray and len(plan.weights) > 1
        if way.ordered and flow.until == math.inf and not sprayed:
            # It was sprayed until now, or a path was doubtful.
            flow.ordered_until = max(flow.ordered_until, now + ORDERED)
        if plan.copies > 1:
            paths = plan.with_copies(flow.hash, path)
            if way.paths and now - flow.last < _LINGERING + max(map(_rtt, way.paths)):
                _keep_order(flow, way.paths, paths, now)
            # Nobody tells when a suspected path lets packets through again.
            doubtful = any(other in self._suspected for other in paths)
        else:
            paths, doubtful = (path,), False
        ordered, flow.until = sprayed or doubtful, math.inf
        if now < flow.ordered_until and not ordered:
            ordered, flow.until = True, flow.ordered_until
        if flow.shadow is not None:
            ends = self._suspected.get(flow.shadow, -math.inf) + SHADOW
            if now < ends and flow.shadow not in paths and not plan.spray:
                paths = (*paths, flow.shadow)
                flow.until = min(flow.until, ends)
            else:
                flow.shadow = None
        flow.way = plan.way(flow.class_index, paths, ordered=ordered)

    def _choices(self, flow: Flow) -> Mapping[Path, float]:
        """Return where an elephant may go."""
        if flow.placed != self._state:
            # Its class may be none of the policy's any more.
            return {}
        plan = self._plan(flow)
        return {} if plan.spray else plan.weights


def _home(flow: Flow, plan: Plan) -> Path | None:
    """Return the path of a flow that nothing but its hash and the other flows decide on."""
    choice = plan.choose(flow.hash)
    if choice is None:
        return None
    if flow.home is None:
        flow.home, flow.chosen = plan.assign(flow.hash, choice), choice
    elif flow.home not in plan.weights:
        # It comes back when its home does.
        return choice
    elif flow.chosen is None:
        flow.chosen = choice
    elif choice is not flow.chosen and flow.chosen in plan.weights:
        # A path came, or weights changed.
        flow.home = flow.chosen = choice
    return flow.home


def _keep_order(flow: Flow, before: Sequence[Path], paths: Sequence[Path], now: float) -> None:
    """Have the order kept for a moment if a path begins to carry copies: it could overtake what others carry."""
    joined = [_rtt(path) for path in paths if path not in before]
    if joined:
        spread = max(map(_rtt, before)) - min(joined)
        flow.ordered_until = max(flow.ordered_until, now + max(ORDERED, ORDERED_SPREAD * spread))


def _narrow(paths: Mapping[int, Path]) -> frozenset[Path]:
    """Return those that carry no IPv6."""
    return frozenset([path for path in paths.values() if path.lane.narrow])


def _rtt(path: Path) -> float:
    """Return the round trip of a path (seconds)."""
    connection = path.connection
    found = None if connection is None else connection.clock.srtt
    return _UNKNOWN_RTT if found is None else found
