# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes a line of the log when a tunnel's state changes, and how many of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from mpquic.daemon.logs import RateFilter, RepeatFilter, quoted
from mpquic.daemon.pathlog import PathLog

if TYPE_CHECKING:
    from mpquic.core.types import Change


class Ends(Protocol):
    """Who knows addresses."""

    def local(self) -> str | None:
        """Return the own address of the connection that stands for all."""

    def ends(self, change: Change) -> str:
        """Return the addresses of the path that a change is about, as fields with a space before each."""


class Telling:
    """Makes the lines of one daemon."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._paths = PathLog()
        self._repeats = RepeatFilter()
        self._refusals = RateFilter()
        #: For each peer, so that none can hide what others do; their names are in the configuration.
        self._peers: defaultdict[str, RateFilter] = defaultdict(RateFilter)

    def line(self, change: Change, known: Ends, now: float) -> tuple[int, str | None]:
        """Return the level and the line for a change, None when there were too many like it lately."""
        if change.state.startswith("path "):
            return self._paths.line(change, known.ends(change), now)
        level = logging.ERROR if change.failed else logging.INFO
        detail = f" {change.detail}" if change.detail else ""
        reason = quoted(change.reason)
        line: str | None
        if change.state == "up":
            note = "" if change.reason == "connected" else f" note={reason}"
            line = self._of_peer(change).line(f"connected local={known.local() or '-'}{detail}{note}", now)
        elif change.state == "connecting":
            level, line = logging.DEBUG, "connecting"
        elif change.state == "refused":
            line = self._refusals.line(f"refused{detail} reason={reason}", now)
        elif change.state == "stopped":
            line = f"stopped reason={reason}"
        else:
            line = self._repeats.note(f"{change.state} reason={reason}", now)
            line = self._of_peer(change).line(line + detail, now) if line is not None else None
        return level, line

    def _of_peer(self, change: Change) -> RateFilter:
        """Return what bounds the lines about a server's peer, or about a client's server."""
        first = change.detail.partition(" ")[0]
        return self._peers[first if first.startswith("peer=") else ""]
