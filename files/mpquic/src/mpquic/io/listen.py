# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a service of this host is offered, and to whom: a Unix socket, or one address that is not every address."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Unix socket at ``path``, or a TCP port of one address of this host."""

    path: Path | None = None
    address: IPv4Address | IPv6Address | None = None
    port: int = 0


def endpoint(text: str) -> Endpoint:
    """Read ``unix:/PATH``, ``192.0.2.1:9479`` or ``[2001:db8::1]:9479``.

    Raises ValueError for everything else, and for addresses that stand for all or many.
    """
    if text.startswith(_UNIX):
        path = Path(text.removeprefix(_UNIX))
        if not path.is_absolute():
            raise ValueError(f"{text}: expected an absolute path after {_UNIX}")
        return Endpoint(path=path)
    host, _colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f"{text}: expected unix:/PATH or ADDRESS:PORT, with an address and no name") from None
    if bracketed != (address.version == 6):
        raise ValueError(f"{text}: expected an IPv6 address in brackets, and no other")
    if address.is_unspecified or address.is_multicast:
        raise ValueError(
            f"{text}: this is not for every network: expected the one address that this host is managed by"
        )
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text}: expected a port from 1 to 65535 after the address")
    return Endpoint(address=address, port=int(port))


def networks(texts: Iterable[str]) -> list[IPv4Network | IPv6Network]:
    """Read prefixes of those who may ask. Raises ValueError."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise ValueError(f"{text}: expected an address or a prefix of those who may ask ({error})") from None
    return found
