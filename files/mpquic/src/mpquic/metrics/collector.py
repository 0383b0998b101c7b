# SPDX-License-Identifier: GPL-3.0-or-later
"""What prometheus_client asks for values, at each scrape."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from mpquic import __version__
from mpquic.metrics import host, sources
from mpquic.metrics.bounds import Names
from mpquic.metrics.families import Families
from mpquic.metrics.tunnels import Tunnels, owners

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric as Family

    from mpquic.metrics.host import Places

#: Seconds for which the same values are given again: whoever scrapes all the time does not keep the daemons busy.
FRESH = 1.0


class HostCollector(Collector):
    """Reads the instances and files of this host."""

    def __init__(self, places: Places) -> None:
        """Read what is at these places."""
        self._places = places
        self._names = Names()
        self._lock = threading.Lock()
        self._latest: list[Family] = []
        self._until = 0.0

    def collect(self) -> Iterable[Family]:
        """Return the values of now, or of less than FRESH seconds ago."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._latest = self._collect()
                self._until = time.monotonic() + FRESH
            return self._latest

    def describe(self) -> Iterable[Family]:
        """Return nothing: what there is depends on the host, and nobody is to be asked only to register this."""
        return ()

    def _collect(self) -> list[Family]:
        begin = time.monotonic()
        places, families = self._places, Families()
        statuses = sources.read(places.run_dir, places.instances)
        self._names.keep(owners(statuses))
        tunnels = Tunnels(families, self._names)
        self._host(families)
        for others, (name, found) in zip(range(len(statuses), 0, -1), statuses.items(), strict=True):
            # The last share is that of the exporter itself.
            families.share(others)
            tunnels.add(name, found, host.digest(places.instances, name))
        families.share(0)
        families.add("mpquic_exporter_build_info", 1, __version__)
        families.add("mpquic_exporter_collect_seconds", time.monotonic() - begin)
        families.add("mpquic_exporter_dropped_series", families.dropped)
        return list(families.all())

    def _host(self, families: Families) -> None:
        for name, (start, expiry) in host.certificates(self._places.identity).items():
            families.add("mpquic_host_certificate_start_timestamp_seconds", start, name)
            families.add("mpquic_host_certificate_expiry_timestamp_seconds", expiry, name)
        watched = host.watched(self._places.run_dir)
        if watched is not None:
            for code, count in watched.findings.items():
                families.add("mpquic_host_drift_findings", count, code)
            families.add("mpquic_host_last_repair_timestamp_seconds", watched.repaired_at)
        families.add("mpquic_host_resolver_up", host.resolver(self._places.run_dir))
        for wan in host.wans(self._places.run_dir):
            families.add("mpquic_wan_billed_bytes", wan.sent, wan.name, "sent")
            families.add("mpquic_wan_billed_bytes", wan.received, wan.name, "received")
            families.add("mpquic_wan_quota_bytes", wan.quota, wan.name)
            families.add("mpquic_wan_quota_warned_ratio", wan.warned, wan.name)
            families.add("mpquic_wan_period_end_timestamp_seconds", wan.until, wan.name)
            families.add("mpquic_wan_counted_timestamp_seconds", wan.counted_at, wan.name)
