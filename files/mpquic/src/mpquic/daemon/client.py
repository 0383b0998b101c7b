# SPDX-License-Identifier: GPL-3.0-or-later
"""A client on the event loop: a new socket for every attempt, because address, route and server may have changed."""

from __future__ import annotations

import os
from ipaddress import ip_network
from typing import TYPE_CHECKING

from mpquic.config import HostConditionError
from mpquic.core.client import ClientTunnel, Settings
from mpquic.core.marking import COPY
from mpquic.daemon.identity import own_pin
from mpquic.daemon.shell import Shell
from mpquic.io.resolve import local_address, remote_address
from mpquic.io.udp import open_udp
from mpquic.quic import ClientEndpoint, Identity, Trust

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from mpquic.config import InstanceConfig


class ClientShell(Shell):
    """Runs one client tunnel."""

    tunnel: ClientTunnel

    def __init__(self, config: InstanceConfig, loop: asyncio.AbstractEventLoop, notify: Callable[[str], None]) -> None:
        """Read identity and trust. Raises OSError or ValueError."""
        tunnel = ClientTunnel(_endpoint(config).connect, os.urandom, loop.time(), _settings(config))
        super().__init__(config, tunnel, loop, notify)
        self.identity = own_pin(config.tls_cert_file)
        # The file may change in its place.
        self._ca = _content(config.tls_ca_file)
        self._attempt: asyncio.Task[None] | None = None

    def reload(self, config: InstanceConfig) -> None:
        """Take over identity and trust; connect anew if the present connection stands for neither any more."""
        endpoint, identity = _endpoint(config), own_pin(config.tls_cert_file)
        connection = self.tunnel.connection
        seen = connection.claimed if connection is not None else None
        ca = _content(config.tls_ca_file)
        before, after = (self.identity, self.config.tls_server_name, self._ca), (identity, config.tls_server_name, ca)
        trusted = not config.tls_server_pin or seen in config.tls_server_pin
        self.config, self.identity, self._ca = config, identity, ca
        self.tunnel.renew(endpoint.connect, self.loop.time(), redial=before != after or not trusted)
        self.tick()

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
            if config.outer_dscp != COPY:
                udp.set_dscp(config.outer_dscp)
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


def _endpoint(config: InstanceConfig) -> ClientEndpoint:
    identity = None
    if config.tls_cert_file is not None and config.tls_key_file is not None:
        identity = Identity(config.tls_cert_file, config.tls_key_file)
    return ClientEndpoint(
        trust=Trust(config.tls_server_pin or (), config.tls_ca_file, config.tls_server_name),
        identity=identity,
        tun_mtu=config.tun_mtu,
        algorithm=config.congestion_algorithm,
        legacy=config.legacy_server,
    )


def _settings(config: InstanceConfig) -> Settings:
    """Return what this client registers; without lan_routing, others decide what the host routes into its TUN."""
    behind = config.lan_routing.cidrs if config.lan_routing is not None else ()
    own = [tun for tun in (config.tun_cidr, config.tun_cidr6) if tun is not None]
    return Settings(
        config.tun_cidr,
        (*[ip_network(tun.ip) for tun in own], *behind),
        complete=config.lan_routing is not None,
        rate=config.rate,
        legacy=config.legacy_server,
        tun6=config.tun_cidr6,
        peer=config.tun_peer,
        copy_dscp=config.outer_dscp == COPY,
    )


def _content(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None
