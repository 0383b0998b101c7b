# SPDX-License-Identifier: GPL-3.0-or-later
"""From rate and share to the numbers that the kernel wants. docs/shaper.md explains them to operators."""

from __future__ import annotations

import math

from mpquic.host.shaper.state import BFIFO, FQ_CODEL, TICK, HtbClass, Queue

RATE_SHARE = 0.98
"""Share of a WAN's rate that is used. Our queue can only stand in for the modem's if that one stays empty, and clocks
and frame overheads are not quite the same on both sides. The daemon's own shaper uses the same share."""

BURST = 0.004
"""Seconds of a rate that may leave at once. A timer fires late when the machine is busy, and a bucket of this depth
makes good for it; it is also what the daemon hands over at once when it knows its rate. What leaves at once waits in
the modem, so a packet can find two of these in front of it there, that of its own class and that of the link: 8 ms."""

FRAME = 1514
"""Bytes of a full frame as tc counts it."""

_MIN_FRAMES = 2
_MAX_QUANTUM = 60_000
# Without fq_codel: as long as the daemon lets a packet wait, but never less than one GSO packet of 64 kB with the
# headers of its segments, which would be dropped whole for ever.
_FIFO = 0.040
_FIFO_MIN = 70_000
# RFC 8290 section 5.2: the interval is the order of a round trip's worst case, and the target is not below the time
# that one full packet takes.
_TARGET = 5_000
_INTERVAL = 100_000
_TARGET_FRAMES = 1.5
# CoDel is slow against what does not react to drops: bytes (as the kernel allocates them, twice those on the wire) of
# this many seconds at most.
_MEMORY = 0.1
_MEMORY_FACTOR = 2
_MEMORY_MIN = 256 * 1024
# The kernel takes twice that (sch_fq_codel.c).
_MEMORY_MAX = 1 << 30


def link_rate(rate: int) -> int:
    """Return how many bytes per second of a WAN's rate (bits per second) are used."""
    return round(rate * RATE_SHARE / 8)


def inner(rate: int) -> HtbClass:
    """Return the class of a whole link with this rate (bits per second)."""
    used = link_rate(rate)
    return HtbClass(parent=0, rate=used, ceil=used, burst=_burst(used), cburst=_burst(used))


def leaf(rate: int, share: int, priority: int, parent: int) -> HtbClass:
    """Return a class with ``share`` percent of a link's rate (bits per second) of its own; it may borrow the rest."""
    used = link_rate(rate)
    own = max(1, used * share // 100)
    return HtbClass(
        parent=parent,
        rate=own,
        ceil=used,
        burst=_burst(own),
        cburst=_burst(used),
        # Classes of one priority take turns: one burst each.
        quantum=min(max(FRAME, round(own * BURST)), _MAX_QUANTUM),
        priority=priority,
    )


def queue(kind: str, rate: int, share: int) -> Queue:
    """Return the queue of such a class."""
    used = link_rate(rate)
    if kind == BFIFO:
        return Queue(BFIFO, limit=max(_FIFO_MIN, round(used * _FIFO)))
    own = max(1, used * share // 100)
    # In tens of microseconds, so that what the kernel makes of it (units of 1.024 us) can be read back.
    target = max(_TARGET, 10 * round(_TARGET_FRAMES * FRAME / own * 1e5))
    memory = min(max(_MEMORY_MIN, round(used * _MEMORY * _MEMORY_FACTOR)), _MEMORY_MAX)
    return Queue(FQ_CODEL, limit=memory, target=target, interval=_INTERVAL - _TARGET + target)


def _burst(rate: int) -> int:
    """Return the depth of a bucket in ticks: `BURST`, or on a slow link the time of two full frames."""
    return math.ceil(max(BURST, _MIN_FRAMES * FRAME / rate) / TICK)
