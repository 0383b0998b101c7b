# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on the event loop: one socket on a fixed port."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mpquic.config import HostConditionError
from mpquic.core.server import ServerTunnel
from mpquic.daemon.shell import Shell
from mpquic.io.resolve import local_address
from mpquic.io.udp import open_udp
from mpquic.quic import Identity, ServerEndpoint

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mpquic.config import InstanceConfig

_LOG = logging.getLogger("mpquic")

#: Seconds between attempts to bind while the address or interface is not there.
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
        super().__init__(config, ServerTunnel(endpoint.accept, loop.time()), loop, notify)
        self._bind_fault: str | None = None
        self._next_bind = 0.0

    def blocked(self) -> str | None:
        """Return why the port could not be bound."""
        return self._bind_fault

    def prepare(self, now: float) -> None:
        """Bind, and again after a while if that fails."""
        if self.udp is not None or now < self._next_bind:
            return
        config = self.config
        try:
            address = local_address(config.bind_ip)
            udp = open_udp(
                address,
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
            self.attach_udp(udp)
            _LOG.info("listening local=%s:%d", address, config.remote_port)
