# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. A site as its operator means it, checked entry by entry but not yet against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPAddress, IPNetwork


@dataclass(frozen=True)
class Rates:
    """What one tunnel may send each way, as seen from the client: in the notation of tc, None for no limit."""

    up: str | None = None
    down: str | None = None


@dataclass(frozen=True)
class Budget:
    """What the client's end of one tunnel may send to the VPS: in the notation of tc, UDP datagrams per second."""

    rate: str | None = None
    packets: int | None = None


@dataclass(frozen=True)
class Tunnel:
    """One tunnel of one client. ``where`` is how messages call it."""

    where: str
    id: int
    wan: str
    lan: str
    lan_cidrs: tuple[IPNetwork, ...]
    port: int
    tun_name: str
    tun_cidr: IPNetwork
    tun_mtu: int
    log_level: str
    table: int
    priority: int
    rates: Rates
    budget: Budget

    @property
    def client_address(self) -> str:
        """The client's address on the TUN, with its prefix length."""
        return f"{_hosts(self.tun_cidr)[0]}/{self.tun_cidr.prefixlen}"

    @property
    def server_address(self) -> str:
        """The VPS's address on the TUN, with its prefix length."""
        return f"{_hosts(self.tun_cidr)[1]}/{self.tun_cidr.prefixlen}"


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
    """A client VM with its tunnels, all to one VPS.

    ``legacy_from`` are the networks that a client with the Go implementation sends from, none for one of ours.
    """

    host: str
    server: str
    tunnels: tuple[Tunnel, ...]
    legacy_from: tuple[IPNetwork, ...] = ()

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


def _hosts(network: IPNetwork) -> list[IPAddress]:
    """Return the two host addresses of a /30 or /31."""
    return list(network.iter_hosts())
