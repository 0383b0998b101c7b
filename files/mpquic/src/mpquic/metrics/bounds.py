# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps the number of series bounded, whatever a daemon or the peer of a server says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Instances of a host, and peers of a server, that are counted one by one.
MAX_TUNNELS = 128
MAX_PEERS = 1024
#: Paths and classes of a tunnel, as the configuration allows.
MAX_PATHS = 255
MAX_CLASSES = 16
#: WANs of a host.
MAX_WANS = 256
#: Reasons of one drop counter.
MAX_REASONS = 64
#: Characters of a label's value.
MAX_LABEL = 64
#: Names of paths, and of classes, that one peer may have had since the exporter started.
MAX_NAMES = 64
#: Series of one scrape.
MAX_SERIES = 100_000

OTHER = "other"
_REASON = re.compile(r"[a-z0-9_]{1,40}")


def label(value: object) -> str:
    """Return a value as that of a label."""
    return "" if value is None else str(value)[:MAX_LABEL]


def reasons(drops: Mapping[str, int]) -> dict[str, int]:
    """Return counts by reason: what is no known form of a reason, or one too many, counts as ``other``."""
    found: dict[str, int] = {}
    for reason, count in sorted(drops.items()):
        name = reason if _REASON.fullmatch(reason) and len(found) < MAX_REASONS else OTHER
        found[name] = found.get(name, 0) + count
    return found


class Names:
    """Names that the peer of a server chooses: for each owner the first ones, for all others their number.

    A peer could otherwise change them all the time, and each is a series for ever in the memory of Prometheus.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._known: dict[tuple[str, ...], set[str]] = {}

    def of(self, owner: tuple[str, ...], name: str, number: int) -> str:
        """Return what to call the path or class ``name``, which is ``number`` of its kind."""
        known = self._known.setdefault(owner, set())
        name = label(name)
        if name not in known and len(known) >= MAX_NAMES:
            return f"#{number}"
        known.add(name)
        return name

    def keep(self, owners: set[tuple[str, ...]]) -> None:
        """Forget the owners that are no more."""
        self._known = {owner: names for owner, names in self._known.items() if owner in owners}
