# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets of a client's ports: opened when a port asks, closed when the host has no place for one any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.config import HostConditionError
from mpquic.core.marking import COPY
from mpquic.io.linkwatch import LinkWatch, find
from mpquic.io.resolve import remote_address
from mpquic.io.udp import open_udp

if TYPE_CHECKING:
    import asyncio
    from collections import Counter
    from collections.abc import Mapping

    from mpquic.config import Bind
    from mpquic.core.marking import OuterDscp
    from mpquic.core.port import ClientPort
    from mpquic.daemon.shell import Shell
    from mpquic.daemon.target import Target
    from mpquic.io.linkwatch import Place
    from mpquic.io.udp import UdpSocket


class Line:
    """One port's socket over time: a new one for every attempt, because address, route and server may have changed."""

    def __init__(
        self, shell: Shell, port: ClientPort, target: Target, drops: Counter[str], *, dscp: OuterDscp = 0
    ) -> None:
        """Open sockets that ``shell`` reads. What the kernel refuses counts in ``drops``."""
        self.port = port
        self.target = target
        self._shell = shell
        self._drops = drops
        self._dscp = dscp
        self._attempt: asyncio.Task[None] | None = None
        self._udp: UdpSocket | None = None
        #: Where the present socket was opened, and where one would have been at the last look.
        self._opened: Place | None = None
        self._seen: Place | None = None

    def prepare(self, now: float) -> None:
        """Open a socket when the port wants one, and pass on what the kernel said about the present one."""
        udp = self._udp
        if udp is not None:
            if udp.take_refused():
                self.port.refused(now)
            if udp.last_error:
                self.port.send_failed(udp.last_error)
        if self.port.needs_socket and self._attempt is None:
            self._attempt = self._shell.loop.create_task(self._open())

    def look(self, now: float) -> None:
        """Look where a socket belongs, after links or addresses changed: what is in the wrong place is closed."""
        before, opened = self._seen, self._opened
        try:
            place = self._seen = find(self.target.bind, opened)
        except (HostConditionError, OSError) as error:
            self._seen = None
            if opened is not None:
                self._lost(getattr(error, "strerror", None) or str(error), now, moving=False)
            return
        if opened is not None and not opened.holds(place):
            there = bool(place.index or place.owner)
            self._lost(_moved(self.target.bind, opened, place), now, moving=there)
            if there:
                self.port.link_changed(now)
        elif place.running and place != before:
            self.port.link_changed(now)

    def give_up(self) -> None:
        """End the attempt that is under way."""
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None

    def stop(self) -> None:
        """End the attempt that is under way, and close the socket."""
        self.give_up()
        self._close()

    async def _open(self) -> None:
        shell, target = self._shell, self.target
        self._seen = None
        try:
            place = self._seen = find(target.bind)
            kept = self.port.remote
            if kept is not None and (":" in kept[0]) == (":" in place.address):
                remote = kept
            else:
                remote = await remote_address(target.host, target.port, place.address)
                # A name may take seconds; what the host has may be something else by now.
                place = self._seen = find(target.bind)
            udp = open_udp(
                place.address,
                0,
                device=target.bind.interface,
                remote=remote,
                drops=self._drops,
                take=shell.plane.take_socket,
            )
            if self._dscp != COPY:
                udp.set_dscp(self._dscp)
        except HostConditionError as error:
            self._failed(str(error))
        except OSError as error:
            self._failed(f"{target}: {error.strerror or error}")
        else:
            self._opened, self._udp = place, udp
            shell.attach_udp(self.port, udp)
            self.port.socket_ready(remote, shell.loop.time())
        self._attempt = None
        shell.tick()

    def _lost(self, reason: str, now: float, *, moving: bool) -> None:
        self._close()
        self.port.socket_lost(reason, now, moving=moving)

    def _failed(self, reason: str) -> None:
        self._close()
        self.port.socket_failed(reason, self._shell.loop.time())

    def _close(self) -> None:
        self._opened = self._udp = None
        self._shell.detach_udp(self.port)


class Lines:
    """The sockets of all ports, and what the kernel tells of links."""

    def __init__(self, shell: Shell, dscp: OuterDscp) -> None:
        """Start without ports."""
        self._shell = shell
        self._dscp = dscp
        self._lines: dict[ClientPort, Line] = {}
        self._watch = LinkWatch(shell.loop, self._look)

    def set(self, ports: Mapping[ClientPort, tuple[Target, Counter[str]]]) -> None:
        """Serve these ports from now on; those that were served already go on as they are."""
        for port in self._lines.keys() - ports.keys():
            self._lines.pop(port).stop()
        for port, (target, drops) in ports.items():
            if port not in self._lines:
                self._lines[port] = Line(self._shell, port, target, drops, dscp=self._dscp)

    def start(self) -> None:
        """Begin to watch the host's links."""
        self._watch.start()

    def stop(self) -> None:
        """Give up what is under way; the sockets stay for the goodbyes."""
        self._watch.stop()
        for line in self._lines.values():
            line.give_up()

    def prepare(self, now: float) -> None:
        """Open the sockets that are wanted, and pass on what the kernel said."""
        for line in self._lines.values():
            line.prepare(now)

    def _look(self) -> None:
        now = self._shell.loop.time()
        for line in self._lines.values():
            line.look(now)
        self._shell.tick()


def _moved(bind: Bind, before: Place, now: Place) -> str:
    """Return why a socket is of no use any more though there is a place for one."""
    if before.address != now.address:
        return f"{bind}: the address is {now.address} now, and was {before.address}"
    return f"{bind}: the interface is another one" if now.index else f"{bind}: the address is gone"
