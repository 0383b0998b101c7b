# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines on stderr, without a time: the journal adds it."""

from __future__ import annotations

import logging
import sys

from mpquic.core.budget import Bucket

#: Seconds in which a line that says the same again is only counted.
REPEAT = 60.0

#: Lines per second, and at once, of a kind that strangers or one peer can cause.
RATE, BURST = 1.0, 20

_UNQUOTED = str.maketrans({'"': "'", "\\": "/"})
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "error": logging.ERROR}


def set_up(level: str) -> None:
    """Log lines of ``level`` (debug, info or error) and above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logging.addLevelName(logging.DEBUG, "debug")
    logging.addLevelName(logging.INFO, "info")
    logging.addLevelName(logging.ERROR, "error")
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    # What the library says about single packets and connections, the daemon says itself, in its own terms.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def set_level(level: str) -> None:
    """Log lines of ``level`` and above from now on."""
    logging.getLogger().setLevel(_LEVELS[level])


def quoted(text: str) -> str:
    """Return ``text`` as the value of a field: nothing in it ends the value or the line."""
    return '"' + "".join(char if char.isprintable() else "?" for char in text.translate(_UNQUOTED)) + '"'


class RateFilter:
    """Lets so many lines per second through, more after silence, and counts the others: nobody may fill the journal."""

    def __init__(self, rate: float = RATE, burst: int = BURST) -> None:
        """Start with nothing said. Let ``rate`` lines per second through, ``burst`` at once."""
        self._bucket = Bucket(rate, burst)
        self._hidden = 0

    def line(self, text: str, now: float) -> str | None:
        """Return the line to write for ``text``, or None when there were too many lately."""
        if not self._bucket.take(now):
            self._hidden += 1
            return None
        hidden, self._hidden = self._hidden, 0
        return f"{text} suppressed={hidden}" if hidden else text


class RepeatFilter:
    """Lets a line through once per REPEAT seconds and counts the others."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._said: dict[str, tuple[float, int]] = {}

    def note(self, text: str, now: float) -> str | None:
        """Return the line to write for ``text``, or None when it was said lately."""
        last, hidden = self._said.get(text, (-REPEAT, 0))
        if now - last < REPEAT:
            self._said[text] = (last, hidden + 1)
            return None
        if len(self._said) > 100:
            self._said.clear()
        self._said[text] = (now, 0)
        return f"{text} repeated={hidden}" if hidden else text
