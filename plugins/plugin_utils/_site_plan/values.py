# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Readers of single values: each returns the value or records what was expected and returns None."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import (
    AddrFormatError,
    IPAddress,
    IPNetwork,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

# The kernel takes more (dev_valid_name() in net/core/dev.c); these characters need no quoting anywhere.
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_RATE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([kmg]?bit)", re.IGNORECASE)
_RATE_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_RATES = range(32_000, 100 * 10**9 + 1)
_PIN = re.compile(r"sha256:[0-9a-fA-F]{64}")
_RESERVED_INTERFACES = {"all", "default", "lo"}


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


def rate(value: object, where: str, problems: Problems) -> str | None:
    """Read a rate in the notation of tc, with its unit; the daemon reads it again."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match and round(float(match[1]) * _RATE_UNITS[match[2].lower()]) in _RATES:
        return str(value)
    problems.unexpected(where, value, "a rate from 32kbit to 100gbit such as 500kbit, 20mbit or 1gbit")
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
        if _unicast(found):
            return found
    problems.unexpected(where, value, expected)
    return None


def network(value: object, where: str, lengths: range, example: str, problems: Problems) -> IPNetwork | None:
    """Read an IPv4 network: its own address (no host bits) and a prefix length out of ``lengths``."""
    expected = f"an IPv4 network of /{lengths[0]} to /{lengths[-1]} such as {example}"
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]+(\.[0-9]+){3}/[0-9]{1,2}", value):
        problems.unexpected(where, value, expected)
        return None
    try:
        found = IPNetwork(str(value), version=4)
    except (AddrFormatError, ValueError):
        problems.unexpected(where, value, expected)
        return None
    first = IPAddress(found.first, version=4)
    if found.prefixlen not in lengths or not _unicast(first):
        problems.unexpected(where, value, expected)
        return None
    if found.ip != first:
        problems.unexpected(where, value, f"a network without host bits, here {found.cidr}")
        return None
    return found


def _unicast(address: IPAddress) -> bool:
    """Whether a host can have the address: neither "this network", loopback, multicast nor class E (RFC 6890)."""
    first_octet = int(address) >> 24
    return 0 < first_octet < 224 and first_octet != 127
