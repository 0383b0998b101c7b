# SPDX-License-Identifier: GPL-3.0-or-later
"""IP prefixes: reading them, refusing those no peer can own, finding those that overlap."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Named = tuple[IPNetwork, str]

#: What no host has inside a tunnel (RFC 6890 and RFC 1122 section 3.2.1.3, RFC 4291 sections 2.5 and 2.7).
_MARTIANS = [
    (ipaddress.ip_network(text), kind)
    for text, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
]


def network(value: object) -> IPNetwork:
    """Accept a prefix without host bits."""
    if isinstance(value, IPNetwork):
        return value
    # "%": Python takes a zone (RFC 4007 section 11) in a prefix and then compares it.
    if not isinstance(value, str) or "%" in value:
        raise ValueError
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError from None
    raise ValueError(f"host bits set, did you mean {loose}?")


def peer_network(value: object) -> IPNetwork:
    """Accept a prefix that a peer can send from: neither everything nor a part of what no host has."""
    found = network(value)
    if found.prefixlen == 0:
        raise ValueError("all addresses there are")
    for martian, kind in _MARTIANS:
        if found.overlaps(martian):
            raise ValueError(f"{kind}, {martian}")
    return found


def peer_address(value: object) -> ipaddress.IPv4Address:
    """Accept an IPv4 address that a peer can have."""
    if not isinstance(value, (str, ipaddress.IPv4Address)):
        raise ValueError  # noqa: TRY004 - pydantic reports ValueError only
    try:
        found = ipaddress.IPv4Address(value)
    except ValueError:
        raise ValueError from None
    peer_network(f"{found}/32")
    return found


def overlaps(prefixes: Iterable[Named]) -> Iterator[tuple[Named, Named]]:
    """Yield (inner, outer) for every prefix that lies in another one, both with their names.

    Prefixes are equal, nested or apart, so that in their order each is compared with those around it only.
    """
    around: list[Named] = []
    for item in sorted(prefixes, key=lambda item: (item[0].version, int(item[0].network_address), item[0].prefixlen)):
        while around and not around[-1][0].overlaps(item[0]):
            around.pop()
        if around:
            yield item, around[-1]
        around.append(item)


Network = Annotated[IPNetwork, BeforeValidator(network)]
PeerNetwork = Annotated[IPNetwork, BeforeValidator(peer_network)]
PeerAddress = Annotated[ipaddress.IPv4Address, BeforeValidator(peer_address)]
