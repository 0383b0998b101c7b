# SPDX-License-Identifier: GPL-3.0-or-later
"""A client on the event loop."""

from __future__ import annotations

import os
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from mpquic.core.client import ClientTunnel, Settings
from mpquic.core.marking import COPY
from mpquic.daemon import dataplane
from mpquic.daemon.client_succession import ClientSuccession
from mpquic.daemon.figures import path_figures
from mpquic.daemon.identity import Credentials
from mpquic.daemon.lines import Lines
from mpquic.daemon.meter import Key, Reading, of_path
from mpquic.daemon.target import Target
from mpquic.quic import ClientEndpoint, Identity, Trust

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mpquic.config import InstanceConfig


class ClientShell(ClientSuccession):
    """Runs one client tunnel over one path."""

    tunnel: ClientTunnel

    def __init__(self, config: InstanceConfig, loop: asyncio.AbstractEventLoop, notify: Callable[[str], None]) -> None:
        """Read identity and trust. Raises OSError or ValueError."""
        tunnel = ClientTunnel(endpoint(config).connect, os.urandom, loop.time(), settings(config))
        super().__init__(config, tunnel, loop, notify)
        self.credentials = Credentials(config)
        self.identity = self.credentials.identity
        target = Target(config.bind_ip, config.remote_addr or "", config.remote_port)
        self.lines = Lines(self, config.outer_dscp)
        self.lines.set({tunnel: (target, tunnel.counters.drops)})

    def reload(self, config: InstanceConfig) -> None:
        """Take over identity and trust; connect anew if the present connection stands for neither any more."""
        connect, credentials, before = endpoint(config).connect, Credentials(config), self.credentials
        self.config, self.credentials, self.identity = config, credentials, credentials.identity
        if credentials != before:
            redial = credentials.differs(before, self.tunnel.connection)
            self.tunnel.renew(connect, self.loop.time(), redial=redial)
        self.tick()

    def prepare(self, now: float) -> None:
        """Open a socket when the tunnel wants one, and pass on ICMP hints."""
        self.lines.prepare(now)

    def blocked(self) -> str | None:
        """Return None: a client's tunnel knows by itself why it waits."""
        return None

    def status(self) -> dict[str, Any]:
        """Return this instance's line of ``mpquic status``, with the figures of its path."""
        return {**super().status(), "figures": path_figures(self.tunnel.path, self.loop.time())}

    def readings(self) -> dict[Key, Reading]:
        """Return the counters of its path."""
        return {("", ""): of_path(self.tunnel.path)}


def endpoint(config: InstanceConfig) -> ClientEndpoint:
    """Return what makes connections. Raises OSError or ValueError for what the files hold."""
    identity = None
    if config.tls_cert_file is not None and config.tls_key_file is not None:
        identity = Identity(config.tls_cert_file, config.tls_key_file)
    return ClientEndpoint(
        trust=Trust(config.tls_server_pin or (), config.tls_ca_file, config.tls_server_name),
        identity=identity,
        tun_mtu=config.tun_mtu,
        algorithm=config.congestion_algorithm,
        legacy=config.legacy_server,
        protection=dataplane.choose(config.native).protection,
    )


def settings(config: InstanceConfig) -> Settings:
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
