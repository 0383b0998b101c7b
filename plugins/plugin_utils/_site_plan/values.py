# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Readers of single values: each returns the value or records what was expected and returns None."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import (
    AddrFormatError,
    IPAddress,
    IPNetwork,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems


@dataclass(frozen=True)
class Networks:
    """What networks are allowed: their lengths by IP version, and an example for messages.

    ``unicast``: hosts can have the addresses; a packet's destination may be others as well.
    """

    lengths: Mapping[int, range]
    example: str
    unicast: bool = True

    def __str__(self) -> str:
        """Return in words what is allowed."""
        kinds = (f"an IPv{version} network of /{of[0]} to /{of[-1]}" for version, of in self.lengths.items())
        return f"{' or '.join(kinds)} such as {self.example}"


# The kernel takes more (dev_valid_name() in net/core/dev.c); these characters need no quoting anywhere.
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_INSTANCE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,14}")
_RATE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([kmg]?bit)", re.IGNORECASE)
_RATE_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_RATES = range(32_000, 100 * 10**9 + 1)
_PIN = re.compile(r"sha256:[0-9a-fA-F]{64}")
_RESERVED_INTERFACES = {"all", "default", "lo"}
_NETWORKS = {
    4: re.compile(r"[0-9]+(\.[0-9]+){3}/[0-9]{1,2}"),
    6: re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/[0-9]{1,3}"),
}


def integer(value: object, where: str, allowed: range, problems: Problems) -> int | None:
    """Read a whole number; ``true`` and ``"7"`` are none."""
    if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
        return int(value)
    problems.unexpected(where, value, f"an integer from {allowed[0]} to {allowed[-1]}")
    return None


def interface(value: object, where: str, problems: Problems) -> str | None:
    """Read the name of a network interface."""
    if isinstance(value, str):
        if value in _RESERVED_INTERFACES:
            problems.unexpected(where, value, "the name of an interface that carries traffic")
            return None
        if _INTERFACE.fullmatch(value):
            return str(value)
    problems.unexpected(where, value, "an interface name of 1 to 15 characters (letters, digits, . _ -)")
    return None


def instance_name(value: object, where: str, problems: Problems) -> str | None:
    """Read the name of a TUN device that is the name of its instances, too, beside those that are numbers."""
    if isinstance(value, str) and not _INSTANCE.fullmatch(value):
        problems.unexpected(
            where, value, "an interface name of 1 to 15 characters (letters, digits, _ -), a letter first"
        )
        return None
    return interface(value, where, problems)


def rate(value: object, where: str, problems: Problems) -> str | None:
    """Read a rate in the notation of tc, with its unit; the daemon reads it again."""
    if isinstance(value, str) and bits_per_second(value) in _RATES:
        return str(value)
    problems.unexpected(where, value, "a rate from 32kbit to 100gbit such as 500kbit, 20mbit or 1gbit")
    return None


def bits_per_second(rate: str) -> int:
    """Return what a rate in the notation of tc means, 0 for what is none."""
    match = _RATE.fullmatch(rate)
    return round(float(match[1]) * _RATE_UNITS[match[2].lower()]) if match else 0


def boolean(value: object, where: str, problems: Problems) -> bool | None:
    """Read true or false; ``"yes"`` and 1 are neither."""
    if isinstance(value, bool):
        return value
    problems.unexpected(where, value, "true or false")
    return None


def pins(value: object, where: str, problems: Problems) -> tuple[str, ...]:
    """Read one pin of a public key or a list of them, in lower case; none when the value is wrong."""
    items = [value] if isinstance(value, str) else value
    if isinstance(items, Sequence) and items and all(isinstance(i, str) and _PIN.fullmatch(i) for i in items):
        return tuple(item.lower() for item in items)
    problems.unexpected(where, value, "sha256: and 64 hex digits, or a list of such pins")
    return ()


def controller_path(value: object, where: str, problems: Problems) -> str | None:
    """Read the path of a file on the controller; absolute, because a play has no working directory to speak of."""
    if isinstance(value, str) and value.startswith("/") and "\0" not in value:
        return str(value)
    problems.unexpected(where, value, "an absolute path on the controller such as {{ inventory_dir }}/pki/ca.pem")
    return None


def choice(value: object, where: str, allowed: Collection[str], problems: Problems) -> str | None:
    """Read one of a few words."""
    if isinstance(value, str) and value in allowed:
        return str(value)
    problems.unexpected(where, value, f"one of {', '.join(allowed)}")
    return None


def address(value: object, where: str, problems: Problems) -> IPAddress | None:
    """Read an IPv4 unicast address in dotted form."""
    expected = "an IPv4 address such as 203.0.113.10"
    if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+){3}", value):
        try:
            found = IPAddress(str(value), version=4)
        except (AddrFormatError, ValueError):
            problems.unexpected(where, value, expected)
            return None
        if _unicast(IPNetwork(found)):
            return found
    problems.unexpected(where, value, expected)
    return None


def any_address(value: object, where: str, problems: Problems) -> IPAddress | None:
    """Read an IPv4 or IPv6 unicast address."""
    found = _network(f"{value}/{128 if ':' in value else 32}") if isinstance(value, str) else None
    if found is not None and _unicast(found):
        return found.ip
    problems.unexpected(where, value, "an address of one host such as 198.51.100.5 or 2001:db8::5")
    return None


def network(value: object, where: str, allowed: Networks, problems: Problems) -> IPNetwork | None:
    """Read a network by its own address (no host bits) and its length."""
    found = _network(value)
    fits = found is not None and found.prefixlen in allowed.lengths.get(found.version, ())
    if found is None or not fits or (allowed.unicast and not _unicast(found)):
        problems.unexpected(where, value, str(allowed))
        return None
    if found.ip != found.network:
        problems.unexpected(where, value, f"a network without host bits, here {found.cidr}")
        return None
    return found


def networks(value: object, where: str, allowed: Networks, problems: Problems) -> tuple[IPNetwork | None, ...]:
    """Read a list of at least one network; None in the place of those that are wrong."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        problems.unexpected(where, value, f"a list of at least one network such as [{allowed.example}]")
        return ()
    return tuple(network(item, f"{where}[{index}]", allowed, problems) for index, item in enumerate(value))


def _network(value: object) -> IPNetwork | None:
    """Return what the value says, with host bits if it has some; None when it is no network."""
    if not isinstance(value, str):
        return None
    version = next((version for version, form in _NETWORKS.items() if form.fullmatch(value)), None)
    if version is None:
        return None
    try:
        return IPNetwork(str(value), version=version)
    except (AddrFormatError, ValueError):
        return None


def _unicast(network: IPNetwork) -> bool:
    """Whether hosts can have its addresses.

    IPv4: neither "this network", loopback, multicast nor class E (RFC 6890). IPv6: global or unique local unicast
    (RFC 4291 section 2.4, RFC 4193).
    """
    if network.version == 4:
        first_octet = network.first >> 24
        return bool(0 < first_octet < 224 and first_octet != 127)
    return bool(network.first >> 125 == 0b001 or network.first >> 121 == 0b1111110)
