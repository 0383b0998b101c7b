# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines about paths: what became of each, in the words that operators know, and not too many of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from mpquic.daemon.logs import RateFilter, quoted

if TYPE_CHECKING:
    from mpquic.core.types import Change

#: Lines per second, and at once, about what is no more than a judgement of a path: it may change with every burst.
DOUBT_RATE, DOUBT_BURST = 0.2, 10
_DOUBTS = frozenset({"path suspect", "path lossy", "path probation"})
_FAILURES = frozenset({"path down", "path suspect", "path lossy"})
#: Paths that are remembered to have failed: their names are a client's choice.
_MOST = 1024


class PathLog:
    """Makes the lines of one daemon."""

    def __init__(self) -> None:
        """Start with nothing said."""
        #: For each path, or for all paths of a server's peer: their names are the peer's choice.
        self._events: defaultdict[str, RateFilter] = defaultdict(RateFilter)
        self._doubts: defaultdict[str, RateFilter] = defaultdict(lambda: RateFilter(DOUBT_RATE, DOUBT_BURST))
        self._failed: set[str] = set()

    def line(self, change: Change, ends: str, now: float) -> tuple[int, str | None]:
        """Return the level and the line for a change of a path, None when there were too many lately.

        The detail of the change begins with ``name=``, at a server with ``peer=`` before that; ``ends`` are the path's
        addresses, as fields with a space before each.
        """
        level = logging.ERROR if change.failed else logging.INFO
        fields = change.detail.split(" ")
        whose = fields[0]
        path = " ".join(field for field in fields[:2] if field.startswith(("peer=", "name=")))
        if change.state in _FAILURES:
            if len(self._failed) >= _MOST:
                self._failed.clear()
            self._failed.add(path)
        elif change.state == "path connecting":
            level = logging.DEBUG
        if change.state == "path up":
            word = "path recovered" if path in self._failed else change.state
            self._failed.discard(path)
            text = f"{word} {change.detail}{ends}"
        else:
            text = f"{change.state} {change.detail} reason={quoted(change.reason)}"
        filters = self._doubts if change.state in _DOUBTS else self._events
        return level, filters[whose].line(text, now)
