# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tunnel and its parts carried in the last seconds: rates and loss, from counters that only ever rise.

Whoever asks for a status gets them with one question, and no packet costs more for it: counters are read once a second.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from mpquic.core.multipath.bundle import Bundle
    from mpquic.core.path import Path
    from mpquic.core.types import Counters

#: Seconds between two looks at the counters.
EVERY = 1.0
#: Seconds over which a rate is taken, and loss, for which there are fewer packets to count.
RATE_SPAN = 3.0
LOSS_SPAN = 10.0
#: Seconds that must have gone by for a rate.
_LEAST = 0.2

#: Of what a reading is: the peer, "" for this end as a whole, and ``path NAME`` or ``class NAME``, "" for all of them.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters since the start, in bytes and QUIC packets, and of a path what its connection measures now."""

    tx_bytes: int
    rx_bytes: int
    acknowledged: int = 0
    judged: int = 0
    #: Smoothed and newest round trip (seconds), None without a connection.
    rtt: float | None = None
    latest: float | None = None
    #: The largest datagram that it ever carried (bytes), None before its first connection.
    largest: int | None = None


class Meter:
    """Remembers the readings of the last seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read: Callable[[], Mapping[Key, Reading]]) -> None:
        """Take what ``read()`` returns."""
        self._loop = loop
        self._read = read
        self._past: deque[tuple[float, Mapping[Key, Reading]]] = deque(maxlen=round(LOSS_SPAN / EVERY))
        #: The shortest smoothed round trip (seconds) that each path had.
        self._best_rtt: dict[Key, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look every second from now on."""
        now = self._loop.time()
        self._look(now, self._read())
        # Daemons of one host wake up together.
        self._timer = self._loop.call_at((now // EVERY + 1) * EVERY, self.start)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def extend(self, status: dict[str, Any]) -> dict[str, Any]:
        """Add ``recent`` to the status of an instance, and to its peers, paths and classes."""
        now, present = self._loop.time(), self._read()
        for peer, end in [("", status), *((peer["name"], peer) for peer in status.get("peers", ()))]:
            parts = [(f"path {path['name']}", path) for path in end.get("paths", ())]
            parts += [(f"class {one['name']}", one) for one in end.get("classes", ())]
            for part, entry in [("", end), *parts]:
                reading = present.get((peer, part))
                entry["recent"] = self._tell((peer, part), reading, now) if reading is not None else None
        return status

    def _look(self, now: float, present: Mapping[Key, Reading]) -> None:
        self._past.append((now, present))
        self._best_rtt = {key: rtt for key, rtt in self._best_rtt.items() if key in present}
        for key, reading in present.items():
            if reading.rtt is not None:
                self._best_rtt[key] = min(reading.rtt, self._best_rtt.get(key, reading.rtt))

    def _tell(self, key: Key, reading: Reading, now: float) -> dict[str, Any]:
        at, then = self._earlier(key, now, RATE_SPAN)
        rates: dict[str, Any] = {"tx_bps": None, "rx_bps": None}
        if then is not None and now - at >= _LEAST:
            rates["tx_bps"] = round(8 * max(0, reading.tx_bytes - then.tx_bytes) / (now - at))
            rates["rx_bps"] = round(8 * max(0, reading.rx_bytes - then.rx_bytes) / (now - at))
        if reading.largest is None and not reading.judged:
            return rates
        _at, before = self._earlier(key, now, LOSS_SPAN)
        judged = reading.judged - before.judged if before is not None else 0
        acknowledged = reading.acknowledged - before.acknowledged if before is not None else 0
        return {
            **rates,
            # What was acknowledged late may count for packets that were judged before.
            "loss": round(min(1.0, max(0.0, 1 - acknowledged / judged)), 4) if judged > 0 else None,
            "judged": max(0, judged),
            "rtt_ms": _milliseconds(reading.latest),
            "rtt_best_ms": _milliseconds(self._best_rtt.get(key)),
            "datagram_best": reading.largest,
        }

    def _earlier(self, key: Key, now: float, span: float) -> tuple[float, Reading | None]:
        """Return the oldest reading that is no older than ``span`` seconds, and when it was."""
        for at, readings in self._past:
            if now - at <= span and key in readings:
                return at, readings[key]
        return now, None


def of_bundle(bundle: Bundle, counters: Counters, paths: Iterable[Path], *, peer: str = "") -> dict[Key, Reading]:
    """Return the readings of a tunnel over several paths. What a class received counts every copy."""
    found = {(peer, f"path {path.name}"): of_path(path) for path in paths}
    for one in bundle.classes():
        received = sum([share.rx_bytes for share in one.shares.values()])
        found[peer, f"class {one.name}"] = Reading(one.tx_bytes, received)
    found[peer, ""] = Reading(counters.tx_bytes, counters.rx_bytes)
    return found


def of_path(path: Path) -> Reading:
    """Return the reading of a path."""
    counters, samples, connection = path.counters, path.samples, path.connection
    clock = connection.clock if connection is not None else None
    return Reading(
        counters.tx_bytes,
        counters.rx_bytes,
        samples.acknowledged,
        samples.judged,
        clock.srtt if clock is not None else None,
        clock.latest if clock is not None and clock.srtt is not None else None,
        path.fit.largest,
    )


def _milliseconds(seconds: float | None) -> float | None:
    return round(seconds * 1000, 3) if seconds is not None else None
