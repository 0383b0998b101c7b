# SPDX-License-Identifier: GPL-3.0-or-later
"""A client on the event loop: a new socket for every attempt, because address, route and server may have changed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from mpquic.config import HostConditionError
from mpquic.core.client import ClientTunnel
from mpquic.daemon.shell import Shell
from mpquic.io.resolve import local_address, remote_address
from mpquic.io.udp import open_udp
from mpquic.quic import ClientEndpoint, Identity, Trust

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mpquic.config import InstanceConfig


class ClientShell(Shell):
    """Runs one client tunnel."""

    tunnel: ClientTunnel

    def __init__(self, config: InstanceConfig, loop: asyncio.AbstractEventLoop, notify: Callable[[str], None]) -> None:
        """Read identity and trust. Raises OSError or ValueError."""
        identity = None
        if config.tls_cert_file is not None and config.tls_key_file is not None:
            identity = Identity(config.tls_cert_file, config.tls_key_file)
        trust = Trust(config.tls_server_pin or (), config.tls_ca_file, config.tls_server_name)
        endpoint = ClientEndpoint(
            trust=trust, identity=identity, tun_mtu=config.tun_mtu, algorithm=config.congestion_algorithm
        )
        tunnel = ClientTunnel(endpoint.connect, random.random, loop.time(), rate=config.rate, own=config.tun_cidr)
        super().__init__(config, tunnel, loop, notify)
        self._attempt: asyncio.Task[None] | None = None

    def prepare(self, now: float) -> None:
        """Open a socket when the tunnel wants one, and pass on ICMP hints."""
        if self.udp is not None:
            if self.udp.take_refused():
                self.tunnel.refused(now)
            if self.udp.last_error:
                self.tunnel.send_failed(self.udp.last_error)
        if self.tunnel.needs_socket and self._attempt is None:
            self._attempt = self.loop.create_task(self._open())

    def blocked(self) -> str | None:
        """Return None: a client's tunnel knows by itself why it waits."""
        return None

    def stop(self) -> None:
        """Say goodbye and close everything."""
        if self._attempt is not None:
            self._attempt.cancel()
        super().stop()

    async def _open(self) -> None:
        config, tunnel = self.config, self.tunnel
        try:
            local = local_address(config.bind_ip)
            remote = await remote_address(config.remote_addr or "", config.remote_port, local)
            udp = open_udp(local, 0, device=config.bind_ip.interface, remote=remote, drops=tunnel.counters.drops)
        except HostConditionError as error:
            self.detach_udp()
            tunnel.socket_failed(str(error), self.loop.time())
        except OSError as error:
            self.detach_udp()
            where = f"{config.bind_ip} to {config.remote_addr} port {config.remote_port}"
            tunnel.socket_failed(f"{where}: {error.strerror or error}", self.loop.time())
        else:
            self.attach_udp(udp)
            tunnel.socket_ready(remote, self.loop.time())
        self._attempt = None
        self.tick()
