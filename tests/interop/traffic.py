# SPDX-License-Identifier: GPL-3.0-or-later
"""Datagrams that come back: each with contents of its own, a bounded number under way, every echo accounted for."""

from __future__ import annotations

import math
import random

#: Bytes of a datagram's number at its start; the rest is noise that depends on the number.
NUMBER = 4
_NOISE = random.Random(9221).randbytes(1 << 16)
#: Coprime to any range of sizes below it, so that as many datagrams in a row as the range is wide differ in size.
_STRIDE = 7919


class Traffic:
    """``count`` datagrams of ``smallest`` to ``largest`` bytes, at most ``window`` of them unanswered at a time.

    Datagrams that are on their way together differ, so an echo tells which one it answers. With ``smallest`` at least
    ``NUMBER``, all differ.
    """

    def __init__(self, count: int, smallest: int, largest: int, *, window: int = 64, patience: float = 3.0) -> None:
        """``patience`` (seconds) is how long an unanswered datagram takes up a place in the window."""
        self.count, self.sent, self.answered = count, 0, 0
        self._smallest, self._range = smallest, largest - smallest + 1
        self.window, self._patience = window, patience
        self._under_way: dict[bytes, float] = {}
        self._given_up: set[bytes] = set()
        #: Echoes of nothing that is missing: altered, or delivered twice.
        self.unexpected: list[str] = []

    @property
    def missing(self) -> int:
        """How many datagrams have not come back."""
        return self.sent - self.answered

    def finished(self, now: float) -> bool:
        """Tell whether all are sent and none is waited for any more."""
        overdue = [payload for payload, at in self._under_way.items() if at + self._patience <= now]
        for payload in overdue:
            del self._under_way[payload]
            self._given_up.add(payload)
        return self.sent == self.count and not self._under_way

    def deadline(self) -> float:
        """Return when the one that has waited longest frees its place, infinity when none waits."""
        return next(iter(self._under_way.values()), math.inf) + self._patience

    def batch(self) -> list[bytes]:
        """Return what may leave now."""
        room = min(self.window - len(self._under_way), self.count - self.sent)
        return [self._payload(number) for number in range(self.sent, self.sent + room)]

    def left(self, payloads: list[bytes], now: float) -> None:
        """Note which datagrams of the last batch have left."""
        self.sent += len(payloads)
        self._under_way.update(dict.fromkeys(payloads, now))

    def came_back(self, payload: bytes) -> None:
        """Take an echo."""
        if self._under_way.pop(payload, None) is not None:
            self.answered += 1
        elif payload in self._given_up:
            self._given_up.remove(payload)
            self.answered += 1
        else:
            self.unexpected.append(f"{len(payload)} bytes: {payload[:16].hex()}")

    def _payload(self, number: int) -> bytes:
        size = self._smallest + number * _STRIDE % self._range
        start = number % (1 << 15)
        return (number.to_bytes(NUMBER, "little") + _NOISE[start : start + size])[:size]
