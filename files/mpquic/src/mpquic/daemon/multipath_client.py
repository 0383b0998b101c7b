# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of several paths on the event loop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mpquic.core.multipath.client import MultipathClient
from mpquic.core.types import text
from mpquic.daemon import telemetry
from mpquic.daemon.client import endpoint, settings
from mpquic.daemon.client_succession import ClientSuccession
from mpquic.daemon.figures import bundle_figures
from mpquic.daemon.identity import Credentials
from mpquic.daemon.lines import Lines
from mpquic.daemon.meter import Key, Reading, of_bundle
from mpquic.daemon.multipath import plan_paths, policy

if TYPE_CHECKING:
    import asyncio
    from collections import Counter
    from collections.abc import Callable

    from mpquic.config import InstanceConfig, Multipath
    from mpquic.core.multipath.leg import Leg
    from mpquic.core.port import ClientPort
    from mpquic.core.types import Change
    from mpquic.daemon.multipath import Planned
    from mpquic.daemon.target import Target


class MultipathShell(ClientSuccession):
    """Runs one client tunnel over several paths."""

    tunnel: MultipathClient

    def __init__(self, config: InstanceConfig, loop: asyncio.AbstractEventLoop, notify: Callable[[str], None]) -> None:
        """Read identity and trust. Raises OSError or ValueError."""
        multipath = _multipath(config)
        self._plan = plan_paths(multipath)
        self._generation = 1
        tunnel = MultipathClient(
            endpoint(config).connect,
            os.urandom,
            loop.time(),
            settings(config),
            policy(multipath, self._plan, self._generation),
            _rates(self._plan),
        )
        super().__init__(config, tunnel, loop, notify)
        self._credentials = Credentials(config)
        self.identity = self._credentials.identity
        #: The legs that have a line.
        self._served: dict[ClientPort, tuple[Target, Counter[str]]] = {}
        self.lines = Lines(self, config.outer_dscp)
        self._serve()

    def reload(self, config: InstanceConfig) -> None:
        """Take over identity, trust, paths and classes. Paths that stay what they are keep their sessions."""
        connect, credentials, before = endpoint(config).connect, Credentials(config), self._credentials
        redial = credentials.differs(before, self.tunnel.connection)
        multipath, now = _multipath(config), self.loop.time()
        if multipath != self.config.multipath:
            plan = plan_paths(multipath, self._plan)
            self.tunnel.reconfigure(policy(multipath, plan, self._generation + 1), _rates(plan), now)
            self._plan, self._generation = plan, self._generation + 1
        self.config, self._credentials, self.identity = config, credentials, credentials.identity
        if credentials != before:
            self.tunnel.renew(connect, now, redial=redial)
        # Whoever left says goodbye by the socket that is about to be closed.
        self._send(now)
        self._serve()
        self.tick()

    def prepare(self, now: float) -> None:
        """Open a socket for each path that wants one, and pass on what the kernel said."""
        if len(self._served) > len(self.tunnel.ports) + len(self.tunnel.leaving):
            # One of a path that is no more has taken what was on its way.
            self._serve()
        self.lines.prepare(now)

    def blocked(self) -> str | None:
        """Return None: every path knows by itself why it waits."""
        return None

    def paths(self, now: float) -> list[dict[str, Any]]:
        """Return the entries of all paths, in the order of the configuration."""
        entries = []
        for leg, planned in zip(self.tunnel.ports, self._plan, strict=True):
            entry = telemetry.describe_path(leg.path, leg.spec, now)
            entry["bind"] = str(planned.target.bind)
            entry["local"] = self._local_of(leg)
            entry["rate_bps"] = planned.rate
            if leg.path.connection is None:
                # Why it does not come up is known to the attempts.
                entry["reason"] = leg.reason
                if entry["last_fault"] is not None:
                    entry["last_fault"]["reason"] = leg.reason
            entries.append(entry)
        return entries

    def status(self) -> dict[str, Any]:
        """Return this instance's line of ``mpquic status``, with its paths and classes."""
        now = self.loop.time()
        classes = [telemetry.describe_class(counters) for counters in self.tunnel.bundle.classes()]
        entry = {**super().status(), "bind": None, "rate_bps": None, "paths": self.paths(now), "classes": classes}
        return {**entry, "reorder": bundle_figures(self.tunnel.bundle)}

    def readings(self) -> dict[Key, Reading]:
        """Return the counters of the tunnel, its paths and its classes."""
        return of_bundle(self.tunnel.bundle, self.tunnel.counters, [leg.path for leg in self.tunnel.ports])

    def local(self) -> str | None:
        """Return the address of the path that stands for all."""
        best = self.tunnel.connection
        found = (leg for leg in self.tunnel.ports if best is not None and leg.connection is best)
        return next(map(self._local_of, found), None)

    def ends(self, change: Change) -> str:
        """Return the addresses of the path that a change is about, as fields."""
        for leg in self.tunnel.ports:
            if change.detail.split(" ")[0] == f"name={leg.spec.name}":
                connection = leg.path.connection
                remote = text(connection.peer) if connection is not None else "-"
                return f" local={self._local_of(leg) or '-'} remote={remote}"
        return ""

    def telemetry(self, now: float) -> list[str]:
        """Return the lines about paths and classes."""
        classes = [telemetry.describe_class(counters) for counters in self.tunnel.bundle.classes()]
        return [*map(telemetry.path_line, self.paths(now)), *map(telemetry.class_line, classes)]

    def _local_of(self, leg: Leg) -> str | None:
        udp = self.sockets.get(leg)
        return text(udp.local) if udp is not None else None

    def _serve(self) -> None:
        """Have a socket for each path, also for one that is leaving, and none for others."""
        served: dict[ClientPort, tuple[Target, Counter[str]]] = {}
        served |= {leg: self._served[leg] for leg in self.tunnel.leaving if leg in self._served}
        for leg, planned in zip(self.tunnel.ports, self._plan, strict=True):
            served[leg] = planned.target, leg.path.counters.drops
        self._served = served
        self.lines.set(served)


def _multipath(config: InstanceConfig) -> Multipath:
    if config.multipath is None:
        raise ValueError("multipath_enabled: expected true")
    return config.multipath


def _rates(plan: tuple[Planned, ...]) -> dict[int, int | None]:
    return {planned.spec.number: planned.rate for planned in plan}
