# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found on the host, as plain data, in the terms of iproute2."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

PROTOCOL = 109
"""Routing protocol number of every rule and route of ours (rtnetlink(7), ``rtm_protocol``)."""

MAIN_TABLE = 254
ANYWHERE = IPv4Network("0.0.0.0/0")
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
    """One IPv4 policy rule; `extra` names selectors that narrow it further (fwmark, ports, ...)."""

    priority: int
    table: int
    source: IPv4Network = ANYWHERE
    iif: str | None = None
    destination: IPv4Network = ANYWHERE
    oif: str | None = None
    action: str = LOOKUP
    protocol: int = PROTOCOL
    suppress: int | None = None
    extra: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it carries our protocol number."""
        return self.protocol == PROTOCOL

    def __str__(self) -> str:
        """Return the rule as ``ip rule`` would print it."""
        words = [f"{self.priority}:", "from", _prefix(self.source, "all")]
        if self.destination != ANYWHERE:
            words += ["to", str(self.destination)]
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
    """One IPv4 route; `kind` as in ip-route(8), `device` and `gateway` as far as it has them."""

    table: int
    destination: IPv4Network
    kind: str = "unicast"
    device: str | None = None
    gateway: str | None = None
    metric: int = 0
    protocol: int = PROTOCOL

    @property
    def ours(self) -> bool:
        """Whether it carries our protocol number."""
        return self.protocol == PROTOCOL

    def __str__(self) -> str:
        """Return the route as ``ip route show table all`` would print it."""
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
    """One reading of the host's IPv4 networking."""

    links: dict[str, Link]
    addresses: dict[str, tuple[IPv4Interface, ...]]
    rules: tuple[Rule, ...]
    routes: tuple[Route, ...]

    def addresses_of(self, name: str) -> tuple[IPv4Interface, ...]:
        """Return the IPv4 addresses of an interface, none when it does not exist."""
        return self.addresses.get(name, ())


def _prefix(network: IPv4Network, everything: str) -> str:
    return everything if network == ANYWHERE else str(network)
