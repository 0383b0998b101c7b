# SPDX-License-Identifier: GPL-3.0-or-later
"""Constants, sets and maps of the nft table, in the JSON of libnftables-json(5), against one value of a packet."""

from __future__ import annotations

import fnmatch
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from mpquic.host.explain import packet as packets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mpquic.host.explain.packet import Address

    Value = Address | int | str

# enum ip_conntrack_info and NF_CT_STATE_BIT (nf_conntrack_common.h); TCP's as in RFC 9293 section 3.1.
_CT_STATES = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
_TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}
_DIRECTIONS = {"original": 0, "reply": 1}
_NFPROTOS = {"ipv4": 2, "ipv6": 10}
_ETHERTYPES = {"ip": 0x0800, "ip6": 0x86DD}


class NotUnderstoodError(Exception):
    """Something of the live table that this program has no meaning for."""


class Kind(Enum):
    """How the constants that a value is compared with are written."""

    ADDRESS = "an address"
    PROTOCOL = "a protocol"
    PORT = "a port"
    DSCP = "a DSCP"
    INTERFACE = "an interface"
    NUMBER = "a number"
    CT_STATE = "a connection state"
    CT_DIRECTION = "a direction"
    TCP_FLAGS = "TCP flags"
    NFPROTO = "a family"
    ETHERTYPE = "an EtherType"
    CLASSID = "a class of tc"


_NAMED = {
    Kind.CT_STATE: _CT_STATES,
    Kind.CT_DIRECTION: _DIRECTIONS,
    Kind.TCP_FLAGS: _TCP_FLAGS,
    Kind.NFPROTO: _NFPROTOS,
    Kind.ETHERTYPE: _ETHERTYPES,
}
FLAGS = {Kind.CT_STATE, Kind.TCP_FLAGS}
"""Kinds whose constants are bits that can be combined."""


def constant(kind: Kind, raw: Any) -> Value:
    """Return what a constant means.

    Raises:
        NotUnderstoodError: it means nothing here.

    """
    found: Value | None = None
    if isinstance(raw, dict) and len(raw) == 1 and "|" in raw:
        raw = raw["|"]
    if isinstance(raw, list) and kind in FLAGS:
        return _bits(kind, raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        found = raw if kind is not Kind.INTERFACE else None
    elif isinstance(raw, str):
        found = _text(kind, raw)
    if found is None:
        raise NotUnderstoodError(f"{raw!r} as {kind.value}")
    return found


def _bits(kind: Kind, names: list[Any]) -> int:
    total = 0
    for name in names:
        bit = constant(kind, name)
        assert isinstance(bit, int)
        total |= bit
    return total


def _text(kind: Kind, raw: str) -> Value | None:
    return _READERS[kind](raw) if kind in _READERS else _NAMED.get(kind, {}).get(raw)


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def classid(text: str) -> int | None:
    """Return ``6d71:101`` as the number that skb->priority holds: major and minor, 16 bits each, in hex."""
    major, colon, minor = text.partition(":")
    try:
        return int(major, 16) << 16 | int(minor, 16) if colon else None
    except ValueError:
        return None


_READERS: dict[Kind, Callable[[str], Value | None]] = {
    Kind.INTERFACE: str,
    Kind.ADDRESS: _address,
    Kind.PROTOCOL: packets.protocol_number,
    Kind.DSCP: packets.dscp_number,
    Kind.CLASSID: classid,
}


def holds(kind: Kind, value: Value, right: Any, sets: Mapping[str, list[Any]]) -> bool:
    """Tell whether a value is a constant, or one of a set, a range or a prefix.

    Raises:
        NotUnderstoodError: the right side means nothing here.

    """
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
        if isinstance(right, list):
            return any(holds(kind, value, item, {}) for item in right)
    if isinstance(right, str) and right.startswith("@"):
        if right[1:] not in sets:
            raise NotUnderstoodError(f"the set {right}")
        return any(holds(kind, value, item, {}) for item in sets[right[1:]])
    if not isinstance(right, dict) or "|" in right:
        return _same(kind, value, right)
    return _one_of_many(kind, value, right, sets)


def _one_of_many(kind: Kind, value: Value, right: dict[str, Any], sets: Mapping[str, list[Any]]) -> bool:
    if "elem" in right:
        return holds(kind, value, right["elem"]["val"], sets)
    if "prefix" in right and kind is Kind.ADDRESS:
        return value in ip_network((right["prefix"]["addr"], right["prefix"]["len"]))
    if "range" in right:
        first, last = (constant(kind, end) for end in right["range"])
        return bool(first <= value <= last)  # type: ignore[operator]
    raise NotUnderstoodError(f"{right!r} as {kind.value}")


def _same(kind: Kind, value: Value, right: Any) -> bool:
    known = constant(kind, right)
    if kind is Kind.INTERFACE and isinstance(known, str) and known.endswith("*"):
        # A name that really ends in an asterisk is written with a backslash before it.
        if known.endswith("\\*"):
            return value == known[:-2] + "*"
        return fnmatch.fnmatchcase(str(value), known.replace("[", "[[]"))
    return value == known


def looked_up(kind: Kind, value: Value, data: Any, sets: Mapping[str, list[Any]]) -> Any:
    """Return what a map has for a value, None when it has nothing.

    Raises:
        NotUnderstoodError: the map means nothing here.

    """
    pairs = sets.get(data[1:]) if isinstance(data, str) and data.startswith("@") else None
    if isinstance(data, dict):
        pairs = data.get("set")
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise NotUnderstoodError(f"the map {data!r}")
    return next((result for key, result in pairs if key != "*" and holds(kind, value, key, {})), None)
