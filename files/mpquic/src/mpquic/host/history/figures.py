# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon says of itself, as figures of a minute: one series for each tunnel, peer, path and class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

TUNNEL, PATH, CLASS = "tunnel", "path", "class"
"""Kinds of series."""
#: Of a path that works, but not as it should.
DOUBT = frozenset({"probation", "lossy", "suspect"})
_COUNTS = ("tx_bytes", "rx_bytes", "tx_packets", "rx_packets")


class Series(NamedTuple):
    """What figures are about: a tunnel of this host, a peer of a server, or a path or class of either."""

    instance: str
    peer: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A series at one moment: counters as the daemon has them, ``state`` as a path's or None for a class."""

    counts: tuple[int, ...]
    drops: int
    rtt_ms: float | None
    loss: float | None
    state: str | None


@dataclass(slots=True)
class Minute:
    """The figures of a series in one minute since 1970 (UTC); seconds are those of the clock that nobody sets."""

    series: Series
    minute: int
    counts: list[int] = field(default_factory=lambda: [0] * len(_COUNTS))
    drops: int = 0
    rtts: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    up_s: float = 0.0
    doubt_s: float = 0.0
    down_s: float = 0.0

    def row(self) -> tuple[float | None, ...]:
        """Return the values as the store has them."""
        return (
            *self.counts,
            self.drops,
            *_mean_and_most(self.rtts),
            *_mean_and_most(self.losses),
            *(round(seconds, 1) for seconds in (self.up_s, self.doubt_s, self.down_s)),
        )


def samples(status: dict[str, Any]) -> Iterator[tuple[Series, Sample]]:
    """Yield a sample for all that one status tells of."""
    name = str(status["id"])
    for peer, end in ((None, status), *((str(found["name"]), found) for found in status.get("peers", ()))):
        # Of a server's only peer the instance itself says the same.
        if peer is None or len(status["peers"]) > 1:
            yield Series(name, peer or "", TUNNEL, ""), _sample(end, end["state"], None)
        for path in end.get("paths", ()):
            loss = max(path["loss"], path["peer_loss"])
            yield Series(name, peer or "", PATH, path["name"]), _sample(path, path["state"], loss)
        for found in end.get("classes", ()):
            yield Series(name, peer or "", CLASS, found["name"]), _sample(found, None, None)


def _sample(entry: dict[str, Any], state: str | None, loss: float | None) -> Sample:
    counts = tuple(int(entry.get(key, 0)) for key in _COUNTS)
    drops = sum(entry["drops"].values()) if "drops" in entry else int(entry.get("tx_err", 0))
    return Sample(counts, drops, entry.get("rtt_ms"), loss, state)


class Meter:
    """Makes minutes of samples."""

    def __init__(self) -> None:
        """Start without any."""
        self._last: dict[Series, Sample] = {}
        self._minutes: dict[tuple[Series, int], Minute] = {}

    def note(self, series: Series, sample: Sample, minute: int, seconds: float) -> None:
        """Add what happened in the last ``seconds`` to a minute."""
        found = self._minutes.setdefault((series, minute), Minute(series, minute))
        last = self._last.get(series)
        self._last[series] = sample
        if last is not None:
            for place, (before, after) in enumerate(zip(last.counts, sample.counts, strict=True)):
                found.counts[place] += risen(before, after)
            found.drops += risen(last.drops, sample.drops)
        if sample.rtt_ms is not None:
            found.rtts.append(sample.rtt_ms)
        if sample.loss is not None:
            found.losses.append(sample.loss)
        if sample.state == "up":
            found.up_s += seconds
        elif sample.state in DOUBT:
            found.doubt_s += seconds
        elif sample.state is not None:
            found.down_s += seconds

    def silent(self, instance: str, minute: int, seconds: float) -> None:
        """Note that an instance gives no answer: its tunnel and its paths are down."""
        known = [series for series in self._last if series.instance == instance and series.kind != CLASS]
        for series in known or [Series(instance, "", TUNNEL, "")]:
            self._minutes.setdefault((series, minute), Minute(series, minute)).down_s += seconds

    def keep(self, instances: set[str]) -> None:
        """Forget instances that are no more."""
        self._last = {series: sample for series, sample in self._last.items() if series.instance in instances}

    def take(self) -> list[Minute]:
        """Return what was noted since this was last called."""
        taken = list(self._minutes.values())
        self._minutes.clear()
        return taken


def risen(before: int, after: int) -> int:
    """Return by how much a counter rose, which begins at 0 when its owner begins anew."""
    return after - before if after >= before else after


def _mean_and_most(values: list[float]) -> tuple[float | None, float | None]:
    return (round(sum(values) / len(values), 4), round(max(values), 4)) if values else (None, None)
