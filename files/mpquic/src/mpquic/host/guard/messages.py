# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and routes as the kernel's own messages (rtnetlink(7)), so that what we have no name for survives as well.

A message is what follows the netlink header: 12 bytes of ``struct rtmsg`` or ``struct fib_rule_hdr``, then attributes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HEADER = 12
_ATTRIBUTE = struct.Struct("=HH")
_NEXTHOP = struct.Struct("=HBBi")
_NUMBER = struct.Struct("=I")
#: The top bits of an attribute's type say how to read it (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
_TYPE_MASK = 0x3FFF

# linux/rtnetlink.h
_RTA_IIF, _RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH = 3, 4, 5, 9
_RTA_CACHEINFO, _RTA_TABLE, _RTA_VIA, _RTA_ENCAP_TYPE, _RTA_ENCAP = 12, 15, 18, 21, 22
_RTA_EXPIRES, _RTA_NH_ID = 23, 30
_RTM_F_CLONED = 0x200
_RTNH_F_ONLINK = 0x4
_LOCAL_TABLE = 255
_KERNEL = 2
#: Redirect, kernel, router advertisement, DHCP: whoever made these takes them away again.
_PASSING = frozenset({1, _KERNEL, 9, 16})
_ADVERTISED = 9
#: The routing daemons of linux/rtnetlink.h and FRR (gated, mrt, zebra, bird, dnrouted, xorp, ntk, mrouted, keepalived,
#: babel, openr, bgp to srte): they hold their routes against the kernel's, and follow their neighbours, not us.
_DAEMONS = frozenset({8, 10, 11, 12, 13, 14, 15, 17, 18, 42, 99, *range(186, 199)})
#: Seconds. A router repeats itself within this time (RFC 4861 section 6.2.1).
_ADVERTISED_LIFETIME = 1800
_AF_INET6 = 10
_LINK_LOCAL = (b"\xfe\x80", b"\xff\x00")
_RTA_DST = 1

# linux/fib_rules.h
_FRA_PRIORITY = 6
_FRA_PROTOCOL = 21
_RULE_INVERT = 0x2


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy rule."""

    payload: bytes

    @property
    def kernel(self) -> bool:
        """Whether the kernel made it."""
        protocol = _find(self.payload, _FRA_PROTOCOL)
        return protocol is not None and protocol[0] == _KERNEL

    @property
    def foreign(self) -> bool:
        """Whether a routing daemon made it."""
        protocol = _find(self.payload, _FRA_PROTOCOL)
        return protocol is not None and protocol[0] in _DAEMONS

    @property
    def request(self) -> bytes:
        """Return what adds or deletes it; without a priority the kernel would choose one."""
        if _find(self.payload, _FRA_PRIORITY) is None:
            return self.payload + _pack(_FRA_PRIORITY, _NUMBER.pack(0))
        return self.payload


@dataclass(frozen=True, slots=True)
class Route:
    """One route."""

    payload: bytes

    @property
    def passing(self) -> bool:
        """Whether it comes and goes with an address, a lease or an advertisement."""
        return self.payload[5] in _PASSING

    @property
    def foreign(self) -> bool:
        """Whether a routing daemon made it."""
        return self.payload[5] in _DAEMONS

    @property
    def direct(self) -> bool:
        """Whether it needs no other route to reach its gateway."""
        kinds = {kind for kind, _rest in _attributes(self.payload)}
        return not kinds & {_RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH, _RTA_NH_ID}

    @property
    def request(self) -> bytes:
        """Return what adds or deletes it; one from an advertisement ends when no other comes."""
        if self.payload[5] == _ADVERTISED:
            return self.payload + _pack(_RTA_EXPIRES, _NUMBER.pack(_ADVERTISED_LIFETIME))
        return self.payload


def rule(message: bytes) -> Rule:
    """Return a rule without what changes by itself: whether its interfaces are there."""
    (flags,) = _NUMBER.unpack_from(message, 8)
    return Rule(message[:8] + _NUMBER.pack(flags & _RULE_INVERT) + message[HEADER:])


def route(message: bytes) -> Route | None:
    """Return a route without what changes by itself: state of its links, counters, age.

    None for what only the kernel makes: the table of local addresses, and in IPv6 link-local and multicast prefixes.
    """
    (flags,) = _NUMBER.unpack_from(message, 8)
    if flags & _RTM_F_CLONED or _table(message) == _LOCAL_TABLE:
        return None
    destination = _find(message, _RTA_DST) or b""
    if message[0] == _AF_INET6 and message[5] == _KERNEL and destination.startswith(_LINK_LOCAL):
        return None
    attributes = dict(_attributes(message))
    dropped = {_RTA_CACHEINFO, _RTA_EXPIRES}
    if _RTA_NH_ID in attributes:  # the nexthop object knows the rest
        dropped |= {_RTA_OIF, _RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH, _RTA_ENCAP, _RTA_ENCAP_TYPE}
    kept = [(kind, value) for kind, value in attributes.items() if kind not in dropped]
    header = message[:8] + _NUMBER.pack(flags & _RTNH_F_ONLINK)
    return Route(header + b"".join(_pack(kind, _steady(kind, value)) for kind, value in kept))


def moved(old: Route, indices: Mapping[int, int]) -> Route | None:
    """Return a route with other interface indices, because devices were made again; None when one is gone."""
    parts = [old.payload[:HEADER]]
    try:
        for kind, value in _attributes(old.payload):
            if kind in {_RTA_IIF, _RTA_OIF}:
                parts.append(_pack(kind, _NUMBER.pack(indices[_NUMBER.unpack(value)[0]])))
            elif kind == _RTA_MULTIPATH:
                hops = (_hop(flags, weight, indices[index], rest) for flags, weight, index, rest in _hops(value))
                parts.append(_pack(kind, b"".join(hops)))
            else:
                parts.append(_pack(kind, value))
    except KeyError:
        return None
    return Route(b"".join(parts))


def _steady(kind: int, value: bytes) -> bytes:
    if kind != _RTA_MULTIPATH:
        return value
    return b"".join(_hop(flags & _RTNH_F_ONLINK, weight, index, rest) for flags, weight, index, rest in _hops(value))


def _table(message: bytes) -> int:
    wide = _find(message, _RTA_TABLE)
    return int(_NUMBER.unpack(wide)[0]) if wide is not None else message[4]


def _find(message: bytes, wanted: int) -> bytes | None:
    return next((value for kind, value in _attributes(message) if kind == wanted), None)


def _attributes(message: bytes) -> Iterator[tuple[int, bytes]]:
    place = HEADER
    while place + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, place)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, message[place + _ATTRIBUTE.size : place + length]
        place += _aligned(length)


def _pack(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(_aligned(len(value)) - len(value))


def _hops(value: bytes) -> Iterable[tuple[int, int, int, bytes]]:
    place = 0
    while place + _NEXTHOP.size <= len(value):
        length, flags, weight, index = _NEXTHOP.unpack_from(value, place)
        if length < _NEXTHOP.size:
            return
        yield flags, weight, index, value[place + _NEXTHOP.size : place + length]
        place += _aligned(length)


def _hop(flags: int, weight: int, index: int, rest: bytes) -> bytes:
    return (
        _NEXTHOP.pack(_NEXTHOP.size + len(rest), flags, weight, index) + rest + bytes(_aligned(len(rest)) - len(rest))
    )


def _aligned(length: int) -> int:
    return (length + 3) & ~3
