# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of one scrape on their way into the classes of prometheus_client."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from mpquic.core.samples import RTT_BOUNDS
from mpquic.metrics.bounds import MAX_SERIES, label
from mpquic.metrics.table import METRICS, metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.core import Metric as Family

    from mpquic.metrics.table import Metric

#: Bounds of the histograms as text, the last for what is beyond all others.
_BOUNDS = (*(f"{bound:g}" for bound in RTT_BOUNDS), "+Inf")


class Families:
    """Takes values by the name of their metric; each set of labels once, and no more than there is room for."""

    def __init__(self) -> None:
        """Start with none."""
        self._families: dict[str, Family] = {}
        self._seen: set[tuple[str, ...]] = set()
        self._left = MAX_SERIES
        self._shared = MAX_SERIES
        #: Series that were left out.
        self.dropped = 0

    def share(self, others: int) -> None:
        """Leave as much of the room that is left to each of so many ``others`` as to what comes next."""
        self._shared = self._left // (others + 1)

    def add(self, name: str, value: float | None, *labels: object) -> None:
        """Take a value with the values of its labels, in the order of the table; None is no value."""
        if value is None:
            return
        values = self._room(name, labels, 1)
        if values is None:
            return
        family = self._family(metric(name))
        assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
        family.add_metric(values, value)

    def add_states(self, name: str, state: str, states: Sequence[str], *labels: object) -> None:
        """Take the state that something is in, of all that there are."""
        for each in states:
            self.add(name, float(each == state), *labels, each)

    def add_histogram(self, name: str, counts: Sequence[int], total: float, *labels: object) -> None:
        """Take a histogram by its counts, each of one class of RTT_BOUNDS; one of another length is left out."""
        if len(counts) != len(_BOUNDS):
            return
        values = self._room(name, labels, len(_BOUNDS) + 2)
        if values is None:
            return
        family = self._family(metric(name))
        assert isinstance(family, HistogramMetricFamily)
        family.add_metric(values, list(zip(_BOUNDS, map(float, accumulate(counts)), strict=True)), total)

    def all(self) -> Iterator[Family]:
        """Return what was taken, in the order of the table."""
        return (self._families[each.name] for each in METRICS if each.name in self._families)

    def _room(self, name: str, labels: Sequence[object], series: int) -> list[str] | None:
        """Return the labels as text, None where there is no room or the same was there before."""
        values = [label(value) for value in labels]
        if (name, *values) in self._seen or series > self._shared:
            self.dropped += series
            return None
        self._seen.add((name, *values))
        self._left -= series
        self._shared -= series
        return values

    def _family(self, found: Metric) -> Family:
        family = self._families.get(found.name)
        if family is None:
            family = self._families[found.name] = _make(found)
        return family


def _make(found: Metric) -> Family:
    if found.kind == "counter":
        return CounterMetricFamily(found.name, found.text, labels=found.labels)
    if found.kind == "gauge":
        return GaugeMetricFamily(found.name, found.text, labels=found.labels)
    return HistogramMetricFamily(found.name, found.text, labels=found.labels)
