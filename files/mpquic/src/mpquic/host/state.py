# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found on the host, as plain data, in the terms of iproute2."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface

PROTOCOL = 109
"""Routing protocol number of every rule and route of ours (rtnetlink(7), ``rtm_protocol``)."""

MAIN_TABLE = 254
ANYWHERE = IPv4Network("0.0.0.0/0")
ANYWHERE_6 = IPv6Network("::/0")
DEFAULT_METRIC_6 = 1024
"""What the kernel makes of metric 0 in IPv6 (IP6_RT_PRIO_USER in linux/ipv6_route.h)."""

IPV6_MIN_MTU = 1280
"""Bytes; on a device with a lower MTU the kernel has no IPv6 at all (RFC 8200 section 5)."""

LOOKUP = "lookup"


@dataclass(frozen=True, slots=True)
class TunInfo:
    """What the kernel says about a device of kind ``tun``; `owner` is a user id, `tap` means layer 2."""

    owner: int | None
    tap: bool
    persistent: bool
    multi_queue: bool


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface; `carrier` is the operational state, `up` the administrative one."""

    index: int
    name: str
    kind: str | None
    up: bool
    carrier: bool
    mtu: int
    queue_length: int
    alias: str | None
    tun: TunInfo | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy rule, of the family of its `source`; it has a mark where `mask` is not 0.

    `extra` names selectors that narrow it further (ports, users, ...).
    """

    priority: int
    table: int
    source: IPNetwork = ANYWHERE
    iif: str | None = None
    destination: IPNetwork | None = None
    oif: str | None = None
    action: str = LOOKUP
    protocol: int = PROTOCOL
    suppress: int | None = None
    extra: tuple[str, ...] = ()
    mark: int = 0
    mask: int = 0

    @property
    def version(self) -> int:
        """Return 4 or 6."""
        return self.source.version

    @property
    def ours(self) -> bool:
        """Whether it carries our protocol number."""
        return self.protocol == PROTOCOL

    def __str__(self) -> str:
        """Return the rule as ``ip rule`` would print it; IPv6 shows in ``::/0`` where that says ``all``."""
        words = [f"{self.priority}:", "from", _prefix(self.source, "all")]
        if self.destination is not None:
            words += ["to", str(self.destination)]
        if self.mask:
            words += ["fwmark", f"{self.mark:#x}/{self.mask:#x}"]
        words += [f"({name})" for name in self.extra]
        if self.iif:
            words += ["iif", self.iif]
        if self.oif:
            words += ["oif", self.oif]
        words += [self.action, str(self.table)] if self.action == LOOKUP else [self.action]
        if self.suppress is not None:
            words += ["suppress_prefixlength", str(self.suppress)]
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Route:
    """One route, of the family of its `destination`; `kind` as in ip-route(8), `device` and `gateway` if there are."""

    table: int
    destination: IPNetwork
    kind: str = "unicast"
    device: str | None = None
    gateway: str | None = None
    metric: int = 0
    protocol: int = PROTOCOL

    @property
    def version(self) -> int:
        """Return 4 or 6."""
        return self.destination.version

    @property
    def ours(self) -> bool:
        """Whether it carries our protocol number."""
        return self.protocol == PROTOCOL

    def __str__(self) -> str:
        """Return the route as ``ip route show table all`` would print it; the default of IPv6 is ``::/0``."""
        words = [] if self.kind == "unicast" else [self.kind]
        words.append(_prefix(self.destination, "default"))
        if self.gateway:
            words += ["via", self.gateway]
        if self.device:
            words += ["dev", self.device]
        words += ["table", "main" if self.table == MAIN_TABLE else str(self.table)]
        if self.metric:
            words += ["metric", str(self.metric)]
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class HostState:
    """One reading of the host's networking, of IPv6 without the link-local addresses that devices give themselves.

    `ipv6` tells whether the kernel has IPv6.
    """

    links: dict[str, Link]
    addresses: dict[str, tuple[IPInterface, ...]]
    rules: tuple[Rule, ...]
    routes: tuple[Route, ...]
    ipv6: bool = True

    def addresses_of(self, name: str) -> tuple[IPInterface, ...]:
        """Return the addresses of an interface, none when it does not exist."""
        return self.addresses.get(name, ())


def anywhere(version: int) -> IPNetwork:
    """Return all addresses of IPv4 or IPv6."""
    return ANYWHERE if version == 4 else ANYWHERE_6


def _prefix(network: IPNetwork, everything: str) -> str:
    return everything if network == ANYWHERE else str(network)
