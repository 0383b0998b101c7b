# SPDX-License-Identifier: GPL-3.0-or-later
"""The only module that changes links, addresses, rules and routes, one by one; it reads them into plain data."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING, Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from mpquic.host import sysctl
from mpquic.host.errors import HostError
from mpquic.host.state import LOOKUP, HostState, Link, Route, Rule, TunInfo, anywhere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.host.state import IPInterface, IPNetwork

_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
_UNSET = 0xFFFFFFFF
_RULE_INVERT = 0x2
_NO_DUPLICATE_DETECTION = 0x02
_LOOPBACK = "lo"
_SCOPE_LINK = 253
_SCOPE_NOWHERE = 255
_RULE_ACTIONS = {1: LOOKUP, 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_ROUTE_KINDS = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}
#: Of IPv6 these have a device of their own, the loopback, which says nothing.
_REFUSING = {"blackhole", "unreachable", "prohibit", "throw"}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS = {family: version for version, family in _FAMILIES.items()}
_NARROWING = {
    "FRA_IP_PROTO": "ipproto",
    "FRA_SPORT_RANGE": "sport",
    "FRA_DPORT_RANGE": "dport",
    "FRA_UID_RANGE": "uidrange",
    "FRA_L3MDEV": "l3mdev",
    "FRA_TUN_ID": "tun_id",
    "FRA_DSCP": "dscp",
}
# RTM_NEWROUTE with NLM_F_REQUEST|ACK|CREATE, which is "ip route prepend": a new route goes before an equal one, so a
# move adds before it deletes, and a foreign route is never replaced. In IPv6 it goes after an equal one, which is
# neither replaced, and without a gateway it never joins one to a multipath route (rt6_qualify_for_ecmp).
_PREPEND = (24, 0x1 | 0x4 | 0x400)


class Kernel:
    """A netlink session; use as a context manager.

    Raises:
        HostError: from any method, when the kernel refuses.

    """

    def __init__(self) -> None:
        """Open the session in the caller's network namespace."""
        self._ipr = IPRoute()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the session."""
        self._ipr.close()

    def read(self) -> HostState:
        """Return links, addresses, rules and routes of all tables."""
        ipv6 = sysctl.has_ipv6()
        families = [socket.AF_INET, socket.AF_INET6] if ipv6 else [socket.AF_INET]
        addresses: dict[str, tuple[IPInterface, ...]] = {}
        rules: list[Rule] = []
        routes: list[Route] = []
        with _refusals():
            links = {link.name: link for link in map(_link, self._ipr.get_links())}
            names = {link.index: link.name for link in links.values()}
            for family in families:
                for message in self._ipr.get_addr(family=family):
                    name = names.get(message["index"])
                    local = message.get("local") or message.get("address")
                    if not name or not local:
                        continue
                    found = ip_interface(f"{local}/{message['prefixlen']}")
                    if found.version == 4 or not found.is_link_local:
                        addresses[name] = (*addresses.get(name, ()), found)
                rules += map(_rule, self._ipr.get_rules(family=family))
                routes += (_route(message, names) for message in self._ipr.get_routes(family=family))
        return HostState(links=links, addresses=addresses, rules=tuple(rules), routes=tuple(routes), ipv6=ipv6)

    def read_rules(self) -> HostState:
        """Return the rules alone."""
        families = [socket.AF_INET, socket.AF_INET6] if sysctl.has_ipv6() else [socket.AF_INET]
        with _refusals():
            rules = [_rule(message) for family in families for message in self._ipr.get_rules(family=family)]
        return HostState(links={}, addresses={}, rules=tuple(rules), routes=(), ipv6=len(families) > 1)

    def link(self, name: str) -> Link | None:
        """Return one link, or None when there is none of that name."""
        with _refusals():
            return next((found for found in map(_link, self._ipr.get_links()) if found.name == name), None)

    def set_link(self, name: str, **attributes: Any) -> None:
        """Set attributes of a link, as pyroute2 names them."""
        with _refusals():
            self._ipr.link("set", index=self._index(name), **attributes)

    def set_mtu(self, index: int, mtu: int) -> None:
        """Set the MTU (bytes) of the link with this index, whatever it is called by now."""
        with _refusals():
            self._ipr.link("set", index=index, mtu=mtu)

    def delete_link(self, name: str) -> None:
        """Delete a link."""
        with _refusals():
            self._ipr.link("del", index=self._index(name))

    def add_address(self, name: str, address: IPInterface) -> None:
        """Add an address to a link; one of IPv6 is usable at once, for nobody else can have it."""
        self._address("add", name, address, **({"flags": _NO_DUPLICATE_DETECTION} if address.version == 6 else {}))

    def delete_address(self, name: str, address: IPInterface) -> None:
        """Delete an address from a link."""
        self._address("del", name, address)

    def _address(self, command: str, name: str, address: IPInterface, **more: int) -> None:
        with _refusals():
            self._ipr.addr(
                command,
                family=_FAMILIES[address.version],
                index=self._index(name),
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                **more,
            )

    def add_rule(self, rule: Rule) -> None:
        """Add one of our rules."""
        with _refusals():
            self._ipr.rule("add", **_rule_request(rule))

    def delete_rule(self, rule: Rule) -> None:
        """Delete exactly one of our rules."""
        with _refusals():
            self._ipr.rule("del", **_rule_request(rule))

    def add_route(self, route: Route) -> None:
        """Add one of our routes, of IPv4 before any equal one."""
        scope = _SCOPE_LINK if route.kind == "unicast" and route.gateway is None else 0
        with _refusals():
            self._ipr.route(_PREPEND, **self._route_request(route), scope=scope)

    def delete_route(self, route: Route) -> None:
        """Delete exactly one of our routes."""
        request = self._route_request(route)
        if route.version == 6 and route.kind in _REFUSING:
            # The kernel does not compare the kind, but this device no other route has.
            request["oif"] = self._index(_LOOPBACK)
        with _refusals():
            self._ipr.route("del", **request, scope=_SCOPE_NOWHERE)

    def _route_request(self, route: Route) -> dict[str, Any]:
        if not route.ours:
            raise HostError(f"refused to touch the foreign route {route}")
        request: dict[str, Any] = {
            "family": _FAMILIES[route.version],
            "dst": str(route.destination),
            "type": route.kind,
            "table": route.table,
            "priority": route.metric,
            "proto": route.protocol,
        }
        if route.device is not None:
            request["oif"] = self._index(route.device)
        if route.gateway is not None:
            request["gateway"] = route.gateway
        return request

    def _index(self, name: str) -> int:
        try:
            return socket.if_nametoindex(name)
        except OSError as error:
            raise HostError(f"interface {name} does not exist") from error


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn pyroute2's error into ours."""
    try:
        yield
    except NetlinkError as error:
        raise HostError(f"the kernel refused: {os.strerror(error.code)}") from error


def rule_of(payload: bytes) -> Rule:
    """Return the rule in a message of the kernel, which begins with ``struct fib_rule_hdr``."""
    return _rule(_decoded(fibmsg, payload))


def route_of(payload: bytes, names: dict[int, str]) -> Route:
    """Return the route in a message of the kernel, which begins with ``struct rtmsg``; `names` are of interfaces."""
    return _route(_decoded(rtmsg, payload), names)


def _decoded(kind: Any, payload: bytes) -> Any:
    """Decode a message whose header, which nobody reads, is left out."""
    message = kind(struct.pack("=IHHII", 16 + len(payload), 0, 0, 0, 0) + payload)
    message.decode()
    return message


def _link(message: Any) -> Link:
    info = message.get("linkinfo")
    kind = info.get("kind") if info is not None else None
    tun = None
    if kind == "tun":
        data = dict(info.get("data", {}).get("attrs", ()))
        tun = TunInfo(
            owner=data.get("IFLA_TUN_OWNER"),
            tap=data.get("IFLA_TUN_TYPE") == 2,
            persistent=bool(data.get("IFLA_TUN_PERSIST")),
            multi_queue=bool(data.get("IFLA_TUN_MULTI_QUEUE")),
        )
    return Link(
        index=message["index"],
        name=message.get("ifname"),
        kind=kind,
        up=bool(message["flags"] & _IFF_UP),
        carrier=bool(message["flags"] & _IFF_LOWER_UP),
        mtu=message.get("mtu") or 0,
        queue_length=message.get("txqlen") or 0,
        alias=message.get("ifalias"),
        tun=tun,
    )


def _rule(message: Any) -> Rule:
    attributes = dict(message["attrs"])
    extra = [text for name, text in _NARROWING.items() if attributes.get(name)]
    if message["tos"]:
        extra.append("tos")
    if message["flags"] & _RULE_INVERT:
        extra.append("not")
    suppress = attributes.get("FRA_SUPPRESS_PREFIXLEN", _UNSET)
    version = _VERSIONS[message["family"]]
    to = _network(attributes.get("FRA_DST"), message["dst_len"], version)
    return Rule(
        priority=attributes.get("FRA_PRIORITY", 0),
        table=attributes.get("FRA_TABLE", message["table"]),
        source=_network(attributes.get("FRA_SRC"), message["src_len"], version),
        iif=attributes.get("FRA_IIFNAME"),
        destination=to if to.prefixlen else None,
        oif=attributes.get("FRA_OIFNAME"),
        action=_RULE_ACTIONS.get(message["action"], str(message["action"])),
        protocol=attributes.get("FRA_PROTOCOL", 0),
        suppress=None if suppress == _UNSET else suppress,
        extra=tuple(sorted(extra)),
        # The kernel leaves out a mark of 0, which with a mask is a selector, too.
        mark=attributes.get("FRA_FWMARK", 0),
        mask=attributes.get("FRA_FWMASK", 0),
    )


def _rule_request(rule: Rule) -> dict[str, Any]:
    if not rule.ours:
        raise HostError(f"refused to touch the foreign rule {rule}")
    request: dict[str, Any] = {
        "family": _FAMILIES[rule.version],
        "priority": rule.priority,
        "table": rule.table,
        "action": "to_tbl",
        "protocol": rule.protocol,
    }
    if rule.source.prefixlen:
        request |= {"src": str(rule.source.network_address), "src_len": rule.source.prefixlen}
    if rule.destination is not None:
        request |= {"dst": str(rule.destination.network_address), "dst_len": rule.destination.prefixlen}
    if rule.mask:
        request |= {"fwmark": rule.mark, "fwmask": rule.mask}
    if rule.iif:
        request["iifname"] = rule.iif
    if rule.oif:
        request["oifname"] = rule.oif
    return request


def _route(message: Any, names: dict[int, str]) -> Route:
    version = _VERSIONS[message["family"]]
    kind = _ROUTE_KINDS.get(message["type"], str(message["type"]))
    index = message.get("oif") if version == 4 or kind not in _REFUSING else None
    return Route(
        table=message.get("table") or message["table"],
        destination=_network(message.get("dst"), message["dst_len"], version),
        kind=kind,
        device=names.get(index, f"#{index}") if index else None,
        gateway=message.get("gateway"),
        metric=message.get("priority") or 0,
        protocol=message["proto"],
    )


def _network(address: str | None, length: int, version: int) -> IPNetwork:
    return anywhere(version) if address is None else ip_network((address, length), strict=False)
