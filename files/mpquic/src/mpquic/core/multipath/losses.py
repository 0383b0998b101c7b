# SPDX-License-Identifier: GPL-3.0-or-later
"""How many of the packets of one path are lost on the way to the peer.

The ranges of an ACK frame (RFC 9000 section 19.3) are the receiver's report of what arrived: no other one is needed,
and a lost acknowledgement does no harm, because the next one repeats its ranges. What counts is what loss recovery gave
up (RFC 9002 section 6.1), less what was acknowledged late: then a slot may have lost fewer than none.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.ackclock import AckClock

#: Seconds in one slot, and slots that are kept.
SLOT = 0.5
SLOTS = 16
#: Share of lost packets above which a path is lossy, and below which it no longer is.
LOSSY, CLEAN = 0.05, 0.02
#: Slots of the windows that are tried, the shortest one that holds ENOUGH packets decides.
_WINDOWS = (4, 8, SLOTS)
ENOUGH = 20
#: In the longest window so many are enough: a path that carries but a ping every second.
_ENOUGH_IDLE = 10
#: Lost packets below which nothing is concluded.
_LEAST = 4
#: Quarters of the window, of four, in which the loss must show: an overflowing queue loses much, but not all the time.
#: The second is for longer windows, with few packets in a quarter.
_QUARTERS = (4, 3)
#: Slots without loss that prove a path clean, and the packets in them: five pings a second, and some slack.
_CLEAN_SLOTS = 8
#: Seconds of these.
CLEAN_FOR = _CLEAN_SLOTS * SLOT
_CLEAN_PACKETS = 15
#: Lost packets that were to be expected in a clean window, and are missed.
_EXPECTED = 4


class Losses:
    """Counts per slot of the last 8 s."""

    __slots__ = ("_acked", "_clock", "_lost", "_slots")

    def __init__(self, clock: AckClock) -> None:
        """Count from now on."""
        self._clock = clock
        self._acked, self._lost = clock.acked_total, clock.lost_total
        self._slots: deque[tuple[int, int]] = deque(maxlen=SLOTS)

    def tick(self) -> None:
        """End a slot; call every SLOT seconds."""
        acked, lost = self._clock.acked_total, self._clock.lost_total
        self._slots.append((acked - self._acked, lost - self._lost))
        self._acked, self._lost = acked, lost

    def share(self) -> float:
        """Return the loss (0..1) in the shortest window that tells something."""
        acked, lost = self._window()[1:]
        return lost / (acked + lost) if lost > 0 else 0.0

    def persistent(self) -> bool:
        """Tell whether more than LOSSY is lost, and steadily: in 2 s with much traffic, in up to 8 s with little."""
        slots, acked, lost = self._window()
        total = acked + lost
        if len(self._slots) < slots or lost < _LEAST or lost <= LOSSY * total:
            return False
        if total < (ENOUGH if slots < SLOTS else _ENOUGH_IDLE):
            return False
        quarter = slots // 4
        parts = [self._sum(end, quarter) for end in range(0, slots, quarter)]
        return sum([gone > LOSSY * (got + gone) for got, gone in parts]) >= _QUARTERS[slots > _WINDOWS[0]]

    def clean(self) -> bool:
        """Tell whether less than CLEAN was lost in the last 4 s, of packets enough to know."""
        acked, lost = self._sum(0, _CLEAN_SLOTS)
        return len(self._slots) >= _CLEAN_SLOTS and acked >= _CLEAN_PACKETS and lost < CLEAN * (acked + lost)

    def relieved(self, share: float) -> bool:
        """Tell, when clean(), whether a loss of ``share`` (0..1) would have shown."""
        acked, lost = self._sum(0, _CLEAN_SLOTS)
        return share * (acked + lost) >= _EXPECTED

    def _window(self) -> tuple[int, int, int]:
        """Return the slots of the shortest window that tells something, and what was acknowledged and lost in it."""
        for slots in _WINDOWS:
            acked, lost = self._sum(0, slots)
            if acked + lost >= ENOUGH:
                return slots, acked, lost
        return SLOTS, acked, lost

    def _sum(self, end: int, count: int) -> tuple[int, int]:
        """Return what was acknowledged and lost in ``count`` slots, the last of them ``end`` slots ago."""
        slots = self._slots
        stop = len(slots) - end
        chosen = [slots[at] for at in range(max(0, stop - count), max(0, stop))]
        return sum([acked for acked, _lost in chosen]), sum([lost for _acked, lost in chosen])
