# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of a lab: machines, and the networks between them."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from lab.errors import LabError

# Ends of one kind of network: the machine's own address in it, counted from the network's address.
HOST_ON_WAN = 10
HOST_ON_SUBNET = 10
HOST_ON_LAN = 1
ROUTER = 1
LAN_CLIENT = 2
#: What makes a file for every NIC of its kind; those with a 6 only for networks that have IPv6.
KINDS = ("wan", "lan", "subnet", "lan6", "subnet6")
MTUS = range(1280, 1501)
RESERVED_NICS = ("lo", "mgmt0")


@dataclass(frozen=True)
class Quality:
    """What a WAN does to packets: Mbit/s (0: unlimited), ms each way, percent, bytes of queue each way."""

    rate_up: float = 0
    rate_down: float = 0
    delay: float = 0
    jitter: float = 0
    loss: float = 0
    limit: float = 500_000

    def changed(self, values: dict[str, Any], where: str, error: type[LabError]) -> "Quality":
        """Return a copy with some values changed; raise `error` for an unknown key or a value out of range."""
        ranges = {
            "rate_up": 10_000,
            "rate_down": 10_000,
            "delay": 5_000,
            "jitter": 5_000,
            "loss": 100,
            "limit": 64_000_000,
        }
        for key, value in values.items():
            if key not in ranges:
                raise error(f"{where}{key}: unknown key, expected one of {', '.join(ranges)}")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= ranges[key]:
                raise error(f"{where}{key}: expected a number from 0 to {ranges[key]}, found {value!r}")
        return replace(self, **values)


QUALITY_KEYS = tuple(field.name for field in fields(Quality))


@dataclass(frozen=True)
class Wan:
    """An ISP's router with its access network, and the wire to it; `mtu` is that of the ISP's own line."""

    name: str
    isp: str
    network: IPv4Network
    public: IPv4Address
    mtu: int
    quality: Quality


@dataclass(frozen=True)
class Lan:
    """A network with one client on it."""

    name: str
    network: IPv4Network
    network6: IPv6Network | None = None


@dataclass(frozen=True)
class Subnet:
    """A network of the internet with one machine on it."""

    name: str
    network: IPv4Network
    network6: IPv6Network | None = None


@dataclass(frozen=True)
class Nic:
    """A NIC of a machine and the network at its other end; `n` counts the NICs of one kind from 1."""

    name: str
    end: Wan | Lan | Subnet
    n: int
    mac: str

    @property
    def kind(self) -> str:
        """Return wan, lan or subnet."""
        return type(self.end).__name__.lower()

    @property
    def network6(self) -> IPv6Network | None:
        """Return the IPv6 network at the other end, if it has one."""
        return None if isinstance(self.end, Wan) else self.end.network6

    @property
    def _offset(self) -> int:
        return {"wan": HOST_ON_WAN, "lan": HOST_ON_LAN, "subnet": HOST_ON_SUBNET}[self.kind]

    @property
    def address(self) -> IPv4Address:
        """Return the machine's own address on this NIC."""
        return self.end.network[self._offset]

    def is_kind(self, kind: str) -> bool:
        """Tell whether a file for every NIC of this kind is for this one."""
        return kind == self.kind or (kind == f"{self.kind}6" and self.network6 is not None)

    @property
    def variables(self) -> dict[str, str]:
        """What a template of this NIC may use."""
        six = {}
        if self.network6 is not None:
            six = {
                "address6": str(self.network6[self._offset]),
                "length6": str(self.network6.prefixlen),
                "router6": str(self.network6[ROUTER]),
            }
        return {
            **six,
            "nic": self.name,
            "name": self.end.name,
            "n": str(self.n),
            "address": str(self.address),
            "network": str(self.end.network),
            "length": str(self.end.network.prefixlen),
            "router": str(self.end.network[ROUTER]),
        }


@dataclass(frozen=True)
class File:
    """A file on a machine before its first boot: its content, or the target of a symbolic link."""

    path: str
    content: str
    is_link: bool


@dataclass(frozen=True)
class Host:
    """A machine with systemd."""

    name: str
    management: IPv4Address
    nics: tuple[Nic, ...]
    files: tuple[File, ...]


@dataclass(frozen=True)
class Topology:
    """A whole lab."""

    name: str
    digest: str
    management: IPv4Network
    hosts: dict[str, Host]
    wans: dict[str, Wan]
    lans: dict[str, Lan]
    subnets: dict[str, Subnet]
    server: IPv4Address
    server6: IPv6Address | None
    router: IPv4Address

    @property
    def places(self) -> tuple[str, ...]:
        """Every name that has a network namespace."""
        isps = (wan.isp for wan in self.wans.values())
        return (*self.hosts, *isps, *self.lans, "internet")

    def nics(self) -> Iterator[tuple[Host, Nic]]:
        """Every NIC with its machine."""
        for host in self.hosts.values():
            for nic in host.nics:
                yield host, nic
