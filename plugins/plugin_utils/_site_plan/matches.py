# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads what packets a class takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import dscp, keys, values
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import Match
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.ranges import united

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.ranges import Range, Ranges

KEYS = ("lan", "protocol", "src", "dst", "sports", "dports", "dscp")

# https://www.iana.org/assignments/protocol-numbers
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "sctp": 132}
ICMP, ICMPV6 = PROTOCOLS["icmp"], PROTOCOLS["icmpv6"]
_WITH_PORTS = {PROTOCOLS["tcp"], PROTOCOLS["udp"], PROTOCOLS["sctp"]}
_PROTOCOLS = range(256)
_PORTS = range(1, 65536)
_PORT_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_ANY = values.Networks({4: range(33), 6: range(129)}, "192.0.2.0/24 or 2001:db8::/32", unicast=False)


def read(entry: object, where: str, place: str, lans: Sequence[str], problems: Problems) -> Match | None:
    """Read one match of a class on the LAN interfaces ``lans``; None when anything of it is wrong."""
    if not isinstance(entry, Mapping) or not entry:
        problems.unexpected(where, entry, f"a mapping with some of the keys {', '.join(KEYS)}")
        return None
    errors_before = len(problems.errors)
    keys.refuse_unknown(entry, where, KEYS, problems)
    fields: dict[str, Any] = {}
    if "lan" in entry:
        fields["lans"] = tuple(dict.fromkeys(_items(entry["lan"], f"{where}: lan", _of_these(lans), problems)))
    fields |= headers(entry, where, _HEADERS, problems)
    match = Match(where, place, **fields)
    if len(problems.errors) == errors_before:
        if not match.protocols:
            for key in ("sports", "dports"):
                if getattr(match, key):
                    problems.errors.append(
                        f"{where}: {key}: found without protocol, expected protocol tcp, udp or sctp"
                    )
        check(match, _HEADERS, problems)
    return match if len(problems.errors) == errors_before else None


def headers(entry: Mapping[str, Any], where: str, names: Mapping[str, str], problems: Problems) -> dict[str, Any]:
    """Read what an entry says of the headers of packets; ``names`` are its keys by the field of a match."""
    return {
        field: collect(_items(entry[names[field]], f"{where}: {names[field]}", reader, problems))
        for field, (reader, collect) in _READERS.items()
        if names[field] in entry
    }


def check(match: Match, names: Mapping[str, str], problems: Problems) -> None:
    """Check that one packet can have all that a match asks for; ``names`` are the keys by the field of the match."""
    for field in ("sports", "dports"):
        other = next((number for number in match.protocols if number not in _WITH_PORTS), None)
        if getattr(match, field) and other is not None:
            where = f"{match.where}: {names[field]}"
            problems.errors.append(
                f"{where}: found with protocol {protocol_name(other)}, expected tcp, udp or sctp only"
            )
    _families_meet(match, names, problems)


def families(match: Match) -> set[int]:
    """Return the IP versions of packets that can fit a match."""
    found = {4, 6}
    for networks in (match.src, match.dst):
        found &= {network.version for network in networks} or found
    return found - ({4} if match.protocols == (ICMPV6,) else set()) - ({6} if match.protocols == (ICMP,) else set())


def _of_these(lans: Sequence[str]) -> Callable[[object, str, Problems], str | None]:
    def lan(value: object, where: str, problems: Problems) -> str | None:
        if isinstance(value, str) and value in lans:
            return str(value)
        problems.unexpected(where, value, f"one of the LANs of this entry ({', '.join(lans)})")
        return None

    return lan


def _items(value: object, where: str, reader: Callable[..., Any], problems: Problems) -> list[Any]:
    """Read one value or a list of them; those that are wrong are left out."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        read_items = [reader(value, where, problems)]
    elif value:
        read_items = [reader(item, f"{where}[{index}]", problems) for index, item in enumerate(value)]
    else:
        problems.unexpected(where, value, "a value or a list of values; leave the key out for any")
        return []
    return [item for item in read_items if item is not None]


def _sorted(items: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(items)))


def _outermost(networks: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    """Return the networks in order, without those that lie in another one."""
    found: list[IPNetwork] = []
    for network in sorted(networks):
        if not (found and found[-1].version == network.version and network.last <= found[-1].last):
            found.append(network)
    return tuple(found)


def _protocol(value: object, where: str, problems: Problems) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and value in _PROTOCOLS:
        return int(value)
    if isinstance(value, str) and value in PROTOCOLS:
        return PROTOCOLS[value]
    problems.unexpected(where, value, f"a protocol number from 0 to 255 or one of {', '.join(PROTOCOLS)}")
    return None


def _prefix(value: object, where: str, problems: Problems) -> IPNetwork | None:
    return values.network(value, where, _ANY, problems)


def _ports(value: object, where: str, problems: Problems) -> Range | None:
    """Read one port or a range of ports."""
    if isinstance(value, int) and not isinstance(value, bool) and value in _PORTS:
        return (int(value), int(value))
    match = _PORT_RANGE.fullmatch(value) if isinstance(value, str) else None
    if match:
        first, last = int(match[1]), int(match[2])
        if first in _PORTS and last in _PORTS and first <= last:
            return (first, last)
    problems.unexpected(where, value, "a port from 1 to 65535 or a range such as 10000-20000, the lower one first")
    return None


def _families_meet(match: Match, names: Mapping[str, str], problems: Problems) -> None:
    if families(match):
        return
    fields = (("src", match.src), ("dst", match.dst))
    parts = [f"{names[field]} (IPv{of[0].version})" for field, of in fields if _of_one(of)]
    if match.protocols in {(ICMP,), (ICMPV6,)}:
        parts.append(f"protocol {protocol_name(match.protocols[0])}")
    problems.errors.append(f"{match.where}: found {' and '.join(parts)}, expected what one packet can have")


def _of_one(networks: Sequence[IPNetwork]) -> bool:
    return len({network.version for network in networks}) == 1


def protocol_name(number: int) -> str | int:
    """Return the name of a protocol, or its number when it has none here."""
    return next((name for name, value in PROTOCOLS.items() if value == number), number)


def port_names(ports: Ranges) -> list[int | str]:
    """Return ports and ranges of ports as the operator writes them."""
    return [first if first == last else f"{first}-{last}" for first, last in ports]


_HEADERS = {field: field for field in ("src", "dst", "sports", "dports", "dscp")} | {"protocols": "protocol"}
# By the field of a match: what reads one value, and what makes the field of all values.
_READERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "protocols": (_protocol, _sorted),
    "src": (_prefix, _outermost),
    "dst": (_prefix, _outermost),
    "sports": (_ports, united),
    "dports": (_ports, united),
    "dscp": (dscp.read, _sorted),
}
