# SPDX-License-Identifier: GPL-3.0-or-later
"""Qdiscs and classes of the interfaces as plain data, in the kernel's units."""

from __future__ import annotations

from dataclasses import dataclass, field

MAJOR = 0x6D71
"""Major number of our qdisc and its classes: "mq". Whatever has another one at the root is not ours."""

TICK = 64e-9
"""Seconds of the unit in which HTB is told of bursts (PSCHED_SHIFT in linux/include/net/pkt_sched.h)."""

FQ_CODEL = "fq_codel"
BFIFO = "bfifo"


@dataclass(frozen=True, slots=True)
class HtbClass:
    """One class of ours; `parent` is the minor number of the class above, 0 for one right below the root.

    Rates are in bytes per second, bursts in ticks (`TICK`) of the rate they belong to, the quantum in bytes. An inner
    class has neither a quantum nor a priority of its own: the kernel ignores them.
    """

    parent: int
    rate: int
    ceil: int
    burst: int
    cburst: int
    quantum: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """The qdisc in which the packets of one class wait; `limit` in bytes, `target` and `interval` in microseconds."""

    kind: str
    limit: int = 0
    target: int = 0
    interval: int = 0


@dataclass(frozen=True, slots=True)
class Tree:
    """Our HTB: minor number of the default class (0: unclassified packets pass), classes and queues by minor number."""

    default: int
    classes: dict[int, HtbClass] = field(default_factory=dict)
    queues: dict[int, Queue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface: `tree` if its root is ours, `foreign` says what its root is if an operator has put it there."""

    index: int
    name: str
    tree: Tree | None = None
    foreign: str | None = None


@dataclass(frozen=True, slots=True)
class TcState:
    """One reading. `fq_codel` tells whether the kernel has that qdisc, None when the reader may not ask."""

    interfaces: dict[str, Interface]
    addresses: dict[str, str]
    """Interface of each address of the host, IPv4 and IPv6."""
    fq_codel: bool | None


def classid(minor: int) -> str:
    """Return the number of a class as tc and nft write it: 6d71:101."""
    return f"{MAJOR:x}:{minor:x}"
