# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees, classes and queues in the operator's terms. Rates as in the inventory and in tc: 19600kbit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.host.shaper.state import BFIFO, FQ_CODEL, TICK, classid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.host.shaper.document import Link
    from mpquic.host.shaper.state import HtbClass, Queue, Tree

_UNITS = ((1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit"))


def rate(octets: int) -> str:
    """Return a rate (bytes per second) in bits, exactly."""
    bits = 8 * octets
    return next((f"{bits // size}{unit}" for size, unit in _UNITS if bits and bits % size == 0), f"{bits}bit")


def described(found: HtbClass) -> str:
    """Return the numbers of a class."""
    burst = _burst(found.burst, found.rate)
    if not found.parent:
        return f"{rate(found.rate)}, burst {burst}"
    return (
        f"{rate(found.rate)} up to {rate(found.ceil)}, priority {found.priority}, burst {burst} and "
        f"{_burst(found.cburst, found.ceil)}, quantum {found.quantum}b"
    )


def queued(found: Queue) -> str:
    """Return the numbers of a queue."""
    if found.kind == BFIFO:
        return f"bfifo of {found.limit}b"
    if found.kind == FQ_CODEL:
        target, interval = found.target / 1000, found.interval / 1000
        return f"fq_codel of {found.limit}b, target {target:g}ms, interval {interval:g}ms"
    return found.kind


def names(links: Sequence[Link]) -> dict[int, str]:
    """Return what the minor numbers of these links stand for."""
    found = {link.inner: f"link {link.name}" for link in links}
    return found | {entry.minor: f"{link.name} class {entry.name}" for link in links for entry in link.classes}


def named(minor: int, known: dict[int, str]) -> str:
    """Return the name and number of a class, so that it can be found with tc."""
    return f"{known[minor]} ({classid(minor)})" if minor in known else f"class {classid(minor)}"


def view(found: Tree | None, links: Sequence[Link]) -> dict[str, str] | None:
    """Return all of a tree, one line for each class."""
    if found is None:
        return None
    known = names(links)
    result = {"unclassified": named(found.default, known) if found.default else "not shaped"}
    for minor, item in sorted(found.classes.items()):
        queue = found.queues.get(minor)
        result[named(minor, known)] = f"{described(item)}, {queued(queue)}" if queue else described(item)
    return result


def _burst(ticks: int, octets: int) -> str:
    return f"{round(ticks * TICK * octets)}b"
