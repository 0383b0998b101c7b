# SPDX-License-Identifier: GPL-3.0-or-later
"""What a soak saw, and whether it is good enough."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.bench.stats import slope

#: The share of the time at the beginning that does not count for the slope: pools and caches fill then.
WARM_UP = 0.2
#: MB (10^6 bytes) that a daemon may grow in an hour.
MOST_GROWTH = 1.0


@dataclass
class Record:
    """What was seen. Memory: (seconds, MB of the server, MB of the client)."""

    memory: list[tuple[float, ...]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    drops: dict[str, dict[str, int]] = field(default_factory=dict)
    #: None for a daemon that does not tell.
    key_updates: dict[str, int | None] = field(default_factory=dict)
    mbit: float = 0.0
    sent: int = 0
    received: int = 0


def growth(record: Record, column: int) -> float:
    """Return what one daemon grew after the warm-up, in MB an hour. Raises ValueError when the time was too short."""
    end = record.memory[-1][0] if record.memory else 0.0
    points = [(row[0] / 3600, row[column]) for row in record.memory if row[0] >= end * WARM_UP]
    return slope(points)


def judge(record: Record) -> list[tuple[str, str]]:
    """Return (PASS, FAIL or INFO; text) for everything that a soak is to show."""
    verdicts = []
    for column, role in ((1, "server"), (2, "client")):
        try:
            rise = growth(record, column)
        except ValueError:
            verdicts.append(("FAIL", f"{role}: memory: too short to tell"))
            continue
        text = f"{role}: memory grew by {rise:.2f} MB/h, at most {MOST_GROWTH:g} MB/h"
        verdicts.append(("PASS" if rise < MOST_GROWTH else "FAIL", text))
    for role, count in record.key_updates.items():
        status = "INFO" if count is None else "PASS" if count else "FAIL"
        verdicts.append((status, f"{role}: key updates: {'not told' if count is None else count}"))
    verdicts.append(("FAIL" if record.errors else "PASS", f"errors in the logs: {len(record.errors)}"))
    verdicts += [("INFO", f"log: {line}") for line in record.errors[:10]]
    for role, drops in record.drops.items():
        told = ", ".join(f"{reason} {count}" for reason, count in drops.items()) or "none"
        verdicts.append(("INFO", f"{role}: dropped packets: {told}"))
    lost = f", {record.sent - record.received} of {record.sent} datagrams lost" if record.sent else ""
    verdicts.append(("INFO", f"carried {record.mbit:.1f} Mbit/s{lost}"))
    return verdicts
