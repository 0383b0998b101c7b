# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on the event loop: one socket on a fixed port."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from mpquic.config import HostConditionError
from mpquic.core.server import ServerTunnel
from mpquic.daemon.shell import Shell, text
from mpquic.io.resolve import local_address
from mpquic.io.udp import open_udp
from mpquic.quic import Identity, ServerEndpoint

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mpquic.config import InstanceConfig

_LOG = logging.getLogger("mpquic")

#: Seconds between attempts to bind while the address or interface is not there, and between looks for a change of it.
BIND_RETRY = 1.0


class ServerShell(Shell):
    """Runs one server tunnel."""

    tunnel: ServerTunnel

    def __init__(self, config: InstanceConfig, loop: asyncio.AbstractEventLoop, notify: Callable[[str], None]) -> None:
        """Read the identity. Raises OSError or ValueError."""
        if config.tls_cert_file is None or config.tls_key_file is None:
            raise ValueError("a server needs tls_cert_file and tls_key_file")
        endpoint = ServerEndpoint(
            identity=Identity(config.tls_cert_file, config.tls_key_file),
            tun_mtu=config.tun_mtu,
            algorithm=config.congestion_algorithm,
        )
        super().__init__(
            config, ServerTunnel(endpoint.accept, loop.time(), rate=config.rate, own=config.tun_cidr), loop, notify
        )
        self._bind_fault: str | None = None
        self._next_bind = 0.0
        self._bound: tuple[str, int] | None = None

    def blocked(self) -> str | None:
        """Return why no port is bound."""
        return self._bind_fault

    def prepare(self, now: float) -> None:
        """Bind, and again after a while if that fails."""
        if self.udp is not None or now < self._next_bind:
            return
        config = self.config
        try:
            place = self._place()
            udp = open_udp(
                place[0],
                config.remote_port,
                device=config.bind_ip.interface,
                remote=None,
                drops=self.tunnel.counters.drops,
            )
        except (HostConditionError, OSError) as error:
            fault = f"{config.bind_ip} port {config.remote_port}: {getattr(error, 'strerror', None) or error}"
            if fault != self._bind_fault:
                _LOG.error('waiting reason="%s"', fault)
            self._bind_fault = fault
            self._next_bind = now + BIND_RETRY
            self.loop.call_later(BIND_RETRY, self.tick)
        else:
            self._bind_fault = None
            self._bound = place
            self.attach_udp(udp)
            _LOG.info("listening local=%s", text(udp.local))
            if config.bind_ip.interface is not None:
                self.loop.call_later(BIND_RETRY, self._check_bind)

    def _place(self) -> tuple[str, int]:
        """Return the address to bind to and the interface's index, 0 without one.

        A socket stays with the index: an interface that came back under its name and address is another one. Raises
        HostConditionError or OSError.
        """
        bind = self.config.bind_ip
        return local_address(bind), socket.if_nametoindex(bind.interface) if bind.interface is not None else 0

    def _check_bind(self) -> None:
        """Let go of a socket whose address or interface is no longer what ``bind_ip`` means."""
        if self._stopped:
            return
        try:
            stays = self._place() == self._bound
        except (HostConditionError, OSError):
            stays = False
        if stays:
            self.loop.call_later(BIND_RETRY, self._check_bind)
            return
        # The client finds out by itself and connects anew: its connection is left to end of silence.
        self.detach_udp()
        self.tick()
