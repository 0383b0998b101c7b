# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator wants of a tunnel over several paths: the paths, the classes of traffic, and what is of which.

Plain values. Both ends have the same: the client is configured with it and tells its server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mpquic.core.path import PING_INTERVAL

if TYPE_CHECKING:
    from mpquic.core.types import Network

#: How a class chooses among its paths: the lowest priority number, one link at a time, or all of them by weight.
Scheduling = Literal["priority", "failover", "balanced"]
#: Ports from one to another, both included.
Ports = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PathSpec:
    """One way from client to server."""

    #: 1 to 255, unique in the tunnel.
    number: int
    name: str
    #: Paths of equal link (0 to 255) share a WAN: they fail together, and share one weight.
    link: int
    #: The lower, the better.
    priority: int
    #: Share of the traffic among equals (1 or more).
    weight: int
    #: Bits per second from server to client, None when not known.
    rate_down: int | None
    #: Seconds between the client's pings by it while it carries nothing; the server need not know.
    ping_interval: float = PING_INTERVAL


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """How one kind of traffic is carried. Paths are given by their numbers."""

    name: str
    scheduling: Scheduling
    #: Taken before all others while one of them is good; empty: no preference.
    preferred: tuple[int, ...] = ()
    #: Never taken.
    excluded: tuple[int, ...] = ()
    #: How many links carry each packet at once (1 to 3).
    copies: int = 1
    #: Each packet of a flow may take another path; the receiver puts them in order.
    spray: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Which packets belong to the class with the index ``target``.

    All fields must match, each by one of its values; an empty field matches everything. Source and destination are
    meant as the client sends.
    """

    target: int
    protocols: frozenset[int] = frozenset()
    sources: tuple[Network, ...] = ()
    destinations: tuple[Network, ...] = ()
    source_ports: tuple[Ports, ...] = ()
    destination_ports: tuple[Ports, ...] = ()
    dscps: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything both ends agree on. Of two policies of one session the one of the higher generation counts."""

    generation: int
    paths: tuple[PathSpec, ...]
    classes: tuple[TrafficClass, ...]
    #: Index of the class of packets that no rule matches.
    default: int = 0
    #: The first that matches counts.
    rules: tuple[Rule, ...] = ()
