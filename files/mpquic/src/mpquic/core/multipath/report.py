# SPDX-License-Identifier: GPL-3.0-or-later
"""What each end tells the other about the paths: payloads of context 4.

They are unreliable and repeated, so each holds everything, and a number tells old ones from new ones. Layout::

    Context (8) = 4, Number (32), Count (8), Count times:
        Path (8), State (8), Loss (16, permille of the packets sent by the sender of the report),
        RTT (32, microseconds, 0 for unknown)
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, NamedTuple

from mpquic.core.multipath.health import State
from mpquic.core.wire import CONTEXT_STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HEAD = struct.Struct("!BIB")
_ENTRY = struct.Struct("!BBHI")
_CODES = {
    State.CONNECTING: 0,
    State.DOWN: 0,
    State.SUSPECT: 1,
    State.LOSSY: 2,
    State.PROBATION: 3,
    State.UP: 4,
}
_STATES = (State.DOWN, State.SUSPECT, State.LOSSY, State.PROBATION, State.UP)
_NUMBERS = 1 << 32
#: Reports that are looked at in one second: a peer sends 21 at most.
_MOST_PER_SECOND = 25
#: Seconds after which a report counts whatever its number: its sender may have begun anew.
STALE = 5.0


class Seen(NamedTuple):
    """One path as a report has it. ``loss`` is 0..1, ``rtt`` seconds, 0 for unknown."""

    path: int
    state: State
    loss: float
    rtt: float


def room(octets: int) -> int:
    """Return how many paths fit a payload of so many bytes."""
    return min(255, max(0, (octets - _HEAD.size) // _ENTRY.size))


def encode(number: int, paths: Sequence[Seen]) -> bytes:
    """Return the payload of a report on at most 255 paths."""
    head = _HEAD.pack(CONTEXT_STATUS, number % _NUMBERS, len(paths))
    return head + b"".join([_encode_entry(seen) for seen in paths])


def decode(payload: bytes) -> tuple[int, list[Seen]] | None:
    """Return the number and the content of a report, None when it is malformed. Unknown states are left out."""
    if len(payload) < _HEAD.size:
        return None
    context, number, count = _HEAD.unpack_from(payload)
    # Bytes after the entries are for later versions.
    if context != CONTEXT_STATUS or len(payload) < _HEAD.size + count * _ENTRY.size:
        return None
    entries: Iterable[tuple[int, int, int, int]] = _ENTRY.iter_unpack(
        payload[_HEAD.size : _HEAD.size + count * _ENTRY.size]
    )
    return number, [
        Seen(path, _STATES[state], min(loss, 1000) / 1000, rtt / 1e6)
        for path, state, loss, rtt in entries
        if state < len(_STATES)
    ]


def _encode_entry(seen: Seen) -> bytes:
    loss = min(1000, max(0, round(seen.loss * 1000)))
    rtt = min(_NUMBERS - 1, max(0, round(seen.rtt * 1e6)))
    return _ENTRY.pack(seen.path, _CODES[seen.state], loss, rtt)


class Heard:
    """Takes the peer's reports in whatever order they come, and no more of them than are worth it."""

    __slots__ = ("_at", "_count", "_counted_from", "_number")

    def __init__(self) -> None:
        """Begin with none."""
        self._number: int | None = None
        self._at = -math.inf
        self._counted_from = -math.inf
        self._count = 0

    def take(self, payload: bytes, now: float) -> list[Seen]:
        """Return what is new in a payload: nothing when it is malformed, old, or one of too many."""
        if now >= self._counted_from + 1.0:
            self._counted_from = now
            self._count = 0
        self._count += 1
        if self._count > _MOST_PER_SECOND:
            return []
        report = decode(payload)
        if report is None:
            return []
        number, paths = report
        # Serial numbers (RFC 1982): the half of them that follows is newer.
        ahead = (number - self._number) % _NUMBERS if self._number is not None else 1
        if not 0 < ahead < _NUMBERS // 2 and now < self._at + STALE:
            return []
        self._number = number
        self._at = now
        return paths
