# SPDX-License-Identifier: GPL-3.0-or-later
"""What client and server share: the event loop's callbacks around a tunnel, its TUN, its log and its status."""

from __future__ import annotations

import logging
import math
import os
import time
from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any

from mpquic import __version__
from mpquic.core.offload.sparse import SMALL, sparse_first
from mpquic.core.types import text
from mpquic.daemon import dataplane
from mpquic.daemon.device import Device
from mpquic.daemon.meter import Key, Meter, Reading
from mpquic.daemon.status import tunnel_entry
from mpquic.daemon.succession import Succession
from mpquic.daemon.telemetry import Reporter
from mpquic.daemon.telling import Telling
from mpquic.io.tun import TunGoneError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mpquic.config import InstanceConfig
    from mpquic.core.port import Port, Tunnel
    from mpquic.core.types import Change, Frame
    from mpquic.io.udp import UdpSocket
    from mpquic.io.udpgroup import UdpGroup

    #: What serves a port.
    Sockets = UdpSocket | UdpGroup

_LOG = logging.getLogger("mpquic")

#: Batches each way before the event loop gets its turn, shared by the sockets that are readable.
_TURNS = 4
#: Sizes that a handshake may go through before the own link takes one.
_SENDS = 4


class Shell(Succession):
    """Runs one tunnel on an event loop. All work is done in callbacks that handle a batch each; no task per packet."""

    def __init__(
        self,
        config: InstanceConfig,
        tunnel: Tunnel,
        loop: asyncio.AbstractEventLoop,
        notify: Callable[[str], None],
    ) -> None:
        """Drive ``tunnel``; ``notify`` takes one line about its state for the service manager."""
        super().__init__()
        self.config = config
        self.tunnel = tunnel
        self.loop = loop
        #: What carries packets.
        self.plane = dataplane.choose(config.native)
        self._notify = notify
        #: The sockets that are open.
        self.sockets: dict[Port, Sockets] = {}
        #: The socket that was readable last, and whether it was so twice running. Then it is read with the TUN, too.
        self._latest: tuple[Port, Sockets] | None = None
        self._alone = True
        self._device = Device(self, self._pump)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._telling = Telling()
        self.reporter = Reporter(loop, self.telemetry)
        self._meter = Meter(loop, self.readings)
        #: ``sha256:<hex>`` of the key this end shows, None without one.
        self.identity: str | None = None
        #: Reloads so far: ``done`` and ``failed``.
        self.reloads = Counter(done=0, failed=0)
        self._started_at = time.time()
        #: ``digest`` of a changed file that only a restart takes over, None where there was no such.
        self.refused: str | None = None
        self._stopped = False

    def start(self, tun: int | None = None) -> None:
        """Open the TUN, or wait while another process holds it, and begin. Raises TunError on every other fault.

        ``tun`` is its descriptor if this process has inherited it.
        """
        self._device.start(tun)
        self.reporter.every(self.config.telemetry_interval)
        self._meter.start()
        self.tick()

    def stop(self) -> None:
        """Say goodbye and close everything."""
        self._stopped = True
        self.tunnel.close(self.loop.time())
        self._after(self.loop.time())
        self.reporter.every(0)
        self._meter.stop()
        if self._timer is not None:
            self._timer.cancel()
        for port in list(self.sockets):
            self.detach_udp(port)
        self._device.stop()

    @abstractmethod
    def reload(self, config: InstanceConfig) -> None:
        """Go on with another configuration, which differs in nothing that needs a restart.

        Raises OSError or ValueError, having changed nothing, when a file that it names is not usable.
        """

    @abstractmethod
    def prepare(self, now: float) -> None:
        """Do what the tunnel asks for beside datagrams: open sockets."""

    @abstractmethod
    def blocked(self) -> str | None:
        """Return what this host lacks for a socket, None when nothing."""

    # --- callbacks --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Run what is due."""
        self._timer = None
        self._timer_at = math.inf
        now = self.loop.time()
        self.tunnel.fire(now)
        answers = self.tunnel.answers()
        if answers:
            self._deliver(answers)
        self._after(now)

    def _pump(self, readable: tuple[Port, Sockets] | None) -> None:
        """Carry packets both ways while there are any: both ways in turn, so that neither waits for the other.

        Takes the socket that is readable, None for the TUN.
        """
        # A bulk transfer comes by one path: its socket is served as if there were no others until another one speaks.
        if readable is not None:
            self._alone = len(self.sockets) == 1 or readable == self._latest
            self._latest = readable
        source = readable or (self._latest if self._alone else None)
        now = self.loop.time()
        for _turn in range(_TURNS if self._alone else max(1, _TURNS // len(self.sockets))):
            arrived = source is not None and self._from_udp(*source, now)
            if not self._from_tun(now) and not arrived:
                break
            self._send(now)
            now = self.loop.time()
        self._after(now)

    def _from_udp(self, port: Port, udp: Sockets, now: float) -> bool:
        arrivals = udp.receive()
        if not arrivals:
            return False
        # What is small and came first is handed on before the work on the rest begins.
        small = next((i for i, arrival in enumerate(arrivals) if len(arrival[0]) > SMALL), 0)
        for part in (arrivals[:small], arrivals[small:]) if small else (arrivals,):
            frames = port.receive(part, now)
            if frames:
                self._deliver(frames)
        return True

    def _from_tun(self, now: float) -> bool:
        tun = self._device.tun
        if tun is None or not self.reading:
            return False
        try:
            reads = tun.read()
        except TunGoneError as error:
            self._device.lose(str(error))
            return False
        if not reads:
            return False
        first, rest = sparse_first(reads, tun.codec.header)
        if first:
            self.tunnel.send(first, now)
            self._send(now)
        self.tunnel.send(rest, now)
        answers = self.tunnel.answers()
        if answers:
            self._deliver(answers)
            self._device.exceeded(now)
        return True

    def _deliver(self, frames: list[Frame]) -> None:
        tun = self._device.tun
        if tun is None:
            self.tunnel.counters.drops["tun_missing"] += len(frames)
            return
        try:
            tun.write(frames)
        except TunGoneError as error:
            self._device.lose(str(error))

    def _after(self, now: float) -> None:
        """Send what the tunnel has to say, tell what changed, and set the timer."""
        self._send(now)
        self.forward()
        if self.tunnel.mtu != self._device.fitted and not self.retired:
            self._device.fit()
        for change in self.tunnel.changes():
            self._tell(change, now)
        if self._stopped:
            return
        if not self.retired:
            self.prepare(now)
        deadline = self.tunnel.deadline()
        if deadline < self._timer_at:
            # A timer that is too early only looks again; setting a new one for every batch would cost more.
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = self.loop.call_at(deadline, self.tick)

    def _send(self, now: float) -> None:
        for port in self.tunnel.touched():
            udp = self.sockets.get(port)
            for _send in range(_SENDS):
                datagrams = port.flush(now)
                if udp is None:
                    break
                if datagrams:
                    udp.send(datagrams)
                if not udp.take_too_big():
                    break
                port.too_big(now)

    # --- sockets ----------------------------------------------------------------------------------------------------

    def read_sockets(self, *, reading: bool) -> None:
        """Read all sockets from now on, or none: another process has them as well."""
        self._latest, self._alone = None, True
        for port, udp in self.sockets.items():
            if reading:
                self.loop.add_reader(udp.fileno(), self._pump, (port, udp))
            else:
                self.loop.remove_reader(udp.fileno())

    def attach_udp(self, port: Port, udp: UdpSocket) -> None:
        """Serve a port by this socket from now on."""
        self.detach_udp(port)
        self.serve(port, udp)

    def detach_udp(self, port: Port) -> None:
        """Close the socket of a port, if there is one."""
        udp = self.release_udp(port)
        if udp is not None:
            udp.close()

    def serve(self, port: Port, udp: Sockets) -> None:
        """Serve a port that has no socket by ``udp``."""
        self.sockets[port] = udp
        self.loop.add_reader(udp.fileno(), self._pump, (port, udp))

    def release_udp(self, port: Port) -> Sockets | None:
        """Serve a port no more, and return what served it, still open."""
        udp = self.sockets.pop(port, None)
        if udp is not None:
            self.loop.remove_reader(udp.fileno())
            if self._latest == (port, udp):
                self._latest, self._alone = None, True
        return udp

    # --- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, change: Change, now: float) -> None:
        if self.retired or (self._stopped and change.state.startswith("path ")):
            # Every path is down then. After a hand-over it is the heir that has something to tell.
            return
        level, line = self._telling.line(change, self, now)
        if line is not None:
            _LOG.log(level, line)
        if change.state == self.tunnel.state:
            self._notify(f"{change.state}: {change.reason}")

    def summary(self) -> str:
        """Return what there is to say about the tunnel when nothing is wrong with this host."""
        return self.tunnel.reason

    def local(self) -> str | None:
        """Return the own address of the connection that stands for all."""
        udp = self.sockets.get(self.tunnel.ports[0])
        return text(udp.local) if udp is not None else None

    def ends(self, change: Change) -> str:
        """Return the addresses of the path that a change is about, as fields with a space before each."""
        del change
        return ""

    def telemetry(self, now: float) -> list[str]:
        """Return lines about paths and classes, where the tunnel has several."""
        del now
        return []

    @abstractmethod
    def readings(self) -> dict[Key, Reading]:
        """Return the counters of this end, and of what it has several of."""

    def report(self) -> dict[str, Any]:
        """Return the status, with what was carried in the last seconds."""
        return self._meter.extend(self.status())

    def status(self) -> dict[str, Any]:
        """Return this instance's line of ``mpquic status``."""
        tunnel, blocked = self.tunnel, self.blocked()
        entry = tunnel_entry(tunnel, self.loop.time())
        up = tunnel.state == "up"
        held = f"circuit breaker: at most {tunnel.limit / 1e6:.2f} Mbit/s" if tunnel.limit is not None and up else None
        return {
            **entry,
            "id": self.config.instance_id,
            "role": self.config.role,
            "state": "waiting" if blocked else tunnel.state,
            "reason": blocked or self._device.fault or held or self.summary(),
            "tun": self.config.tun_name,
            "mtu": self._device.mtu(),
            "dataplane": self.plane.name,
            # Why it is not the native one.
            "dataplane_reason": self.plane.reason or None,
            "bind": str(self.config.bind_ip),
            "local": self.local(),
            "rate_bps": self.config.rate,
            "pid": os.getpid(),
            "identity": self.identity,
            "config": self.config.digest,
            "config_refused": self.refused,
            "version": __version__,
            "started_at": round(self._started_at, 3),
            "reloads": dict(self.reloads),
        }
