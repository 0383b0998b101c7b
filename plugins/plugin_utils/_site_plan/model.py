# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. A site as its operator means it, checked entry by entry but not yet against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPAddress, IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import ClassLink
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.multipath_model import MultipathTunnel


@dataclass(frozen=True)
class Rates:
    """What one tunnel may send each way, as seen from the client: in the notation of tc, None for no limit."""

    up: str | None = None
    down: str | None = None


@dataclass(frozen=True)
class Meter:
    """How a WAN is paid for. ``quota`` is bytes, both directions together, in a period that begins on ``billing_day``.

    ``warn`` are percentages of it, None for the daemon's. ``metered``: its paths carry nothing while others work.
    """

    metered: bool = False
    quota: int | None = None
    billing_day: int = 1
    warn: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Wan:
    """What is known of a WAN of a client."""

    rates: Rates = Rates()
    meter: Meter | None = None


@dataclass(frozen=True)
class Budget:
    """What the client's end of one tunnel may send to the VPS: in the notation of tc, UDP datagrams per second."""

    rate: str | None = None
    packets: int | None = None


@dataclass(frozen=True)
class LanTunnel:
    """A tunnel that takes all of a LAN, whatever its WANs. ``where`` is how messages call it."""

    where: str
    id: int
    lan: str
    lan_cidrs: tuple[IPNetwork, ...]
    port: int
    tun_name: str
    tun_cidr: IPNetwork
    tun_cidr6: IPNetwork | None
    tun_mtu: int
    log_level: str
    table: int
    budget: Budget

    @property
    def client_address(self) -> str:
        """The client's address on the TUN, with its prefix length."""
        return _host(self.tun_cidr, 0)

    @property
    def server_address(self) -> str:
        """The VPS's address on the TUN, with its prefix length."""
        return _host(self.tun_cidr, 1)

    @property
    def client_address6(self) -> str | None:
        """The client's IPv6 address on the TUN, if it has one, with its prefix length."""
        return None if self.tun_cidr6 is None else _host(self.tun_cidr6, 0)

    @property
    def server_address6(self) -> str | None:
        """The VPS's IPv6 address on the TUN, if it has one, with its prefix length."""
        return None if self.tun_cidr6 is None else _host(self.tun_cidr6, 1)


@dataclass(frozen=True)
class Tunnel(LanTunnel):
    """One tunnel of one client, by one WAN. ``priority`` is that of its rule."""

    wan: str
    priority: int
    rates: Rates


@dataclass(frozen=True)
class Server:
    """A VPS: where clients reach it and the local address it listens on (behind a 1:1 NAT they differ).

    ``legacy_pins`` are the pins of a VPS that still runs the Go implementation, none for one of ours.
    """

    host: str
    public_address: IPAddress
    bind_address: IPAddress
    legacy_pins: tuple[str, ...] = ()

    @property
    def legacy(self) -> bool:
        """Whether it runs the Go implementation."""
        return bool(self.legacy_pins)


@dataclass(frozen=True)
class Client:
    """A client VM with its tunnels, class links and multipath tunnels, all to one VPS.

    ``legacy_from`` are the networks that a client with the Go implementation sends from, none for one of ours.
    ``meters`` are the WANs whose traffic is counted, each with how it is paid for.
    """

    host: str
    server: str
    tunnels: tuple[Tunnel, ...]
    links: tuple[ClassLink, ...] = ()
    multipaths: tuple[MultipathTunnel, ...] = ()
    legacy_from: tuple[IPNetwork, ...] = ()
    meters: tuple[tuple[str, Meter], ...] = ()

    @property
    def legacy(self) -> bool:
        """Whether it runs the Go implementation."""
        return bool(self.legacy_from)


@dataclass(frozen=True)
class Site:
    """What could be read of the site; incomplete when there were errors.

    ``certified``: a CA vouches for the hosts; without it they know each other's keys.
    """

    clients: tuple[Client, ...]
    servers: dict[str, Server]
    certified: bool


def _host(network: IPNetwork, index: int) -> str:
    """Return one of the two host addresses of a /30 or /31, or a /126 or /127, with its prefix length.

    The first address of a /30 is the network's own, that of a /126 the routers' (RFC 4291 section 2.6.1).
    """
    skipped = 0 if network.size == 2 else 1
    return f"{network[skipped + index]}/{network.prefixlen}"
