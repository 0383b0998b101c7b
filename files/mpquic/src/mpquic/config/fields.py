# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of single values: each accepts a YAML value or says why not."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_INTERFACE = re.compile(r"[^\s/:%]{1,15}")
_RATE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([kmg]?bit)")
_DSCPS = range(64)
_UNITS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
#: Bits per second that a tunnel can be held to. Below, a full packet would take 0.4 s.
_RATES = range(32_000, 100_000_000_001)
_PEER_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PIN = re.compile(r"sha256:[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Bind:
    """Where the UDP socket is bound: an address, or an interface whose first IPv4 address is looked up when needed."""

    text: str
    address: str | None
    interface: str | None

    def __str__(self) -> str:
        """Return the value as it was written."""
        return self.text


def interface_name(value: object) -> str:
    """Accept what Linux accepts as a device name (dev_valid_name in net/core/dev.c: 1 to 15 bytes)."""
    if not isinstance(value, str) or not _INTERFACE.fullmatch(value) or value in {".", ".."}:
        raise ValueError
    if len(value.encode()) > 15 or not value.isprintable():
        raise ValueError
    return value


def _address(text: str) -> str:
    # RFC 4007 section 11: what follows is a zone, an interface to us.
    if "%" in text:
        interface_name(text.partition("%")[2])
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError from None


def bind(value: object) -> Bind:
    """Accept an IP address or ``if:<ifname>``."""
    if isinstance(value, Bind):
        return value
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - pydantic reports ValueError only
    if value.startswith("if:"):
        return Bind(value, None, interface_name(value[3:]))
    return Bind(value, _address(value), None)


def host(value: object) -> str:
    """Accept an IP address or a host name (RFC 1123)."""
    if not isinstance(value, str) or not value or len(value) > 253:
        raise ValueError
    try:
        return _address(value)
    except ValueError:
        labels = value.rstrip(".").split(".")
        # A name whose last label is a number is a mistyped address (RFC 1123 section 2.1).
        if not all(_HOST_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
            raise
        return value


def tun_address(value: object) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    """Accept an address with its prefix, which is a host's address in that prefix."""
    if isinstance(value, (ipaddress.IPv4Interface, ipaddress.IPv6Interface)):
        return value
    if not isinstance(value, str) or "/" not in value or "%" in value:
        raise ValueError
    try:
        found = ipaddress.ip_interface(value)
    except ValueError:
        raise ValueError from None
    net = found.network
    # RFC 3021: both addresses of a /31 are hosts'.
    if net.prefixlen < net.max_prefixlen - 1 and found.ip == net.network_address:
        raise ValueError(f"the network address of {net}")
    if net.version == 4 and net.prefixlen < 31 and found.ip == net.broadcast_address:
        raise ValueError(f"the broadcast address of {net}")
    if found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_loopback:
        raise ValueError("not an address a tunnel can have")
    return found


def tun_address6(value: object) -> ipaddress.IPv6Interface:
    """Accept an IPv6 address with its prefix, as `tun_address` does."""
    found = tun_address(value)
    if not isinstance(found, ipaddress.IPv6Interface):
        raise ValueError("IPv4")  # noqa: TRY004 - pydantic reports ValueError only
    return found


def dscp(value: object) -> int | Literal["copy"]:
    """Accept a DSCP (RFC 2474 section 3, 0 to 63), or ``copy``: that of the packet inside."""
    if value == "copy":
        return "copy"
    if isinstance(value, bool) or not isinstance(value, int) or value not in _DSCPS:
        raise ValueError
    return value


def pin(value: object) -> str:
    """Accept the fingerprint of a key; answer in lower case."""
    if not isinstance(value, str) or not _PIN.fullmatch(value):
        raise ValueError
    return value.lower()


def pins(value: object) -> tuple[str, ...]:
    """Accept one pin or a list of pins (the old and the new key during a rotation)."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not items:
        raise ValueError
    return tuple(map(pin, items))


def dns_name(value: object) -> str:
    """Accept a DNS name as a certificate has it; answer in lower case, as names are compared (RFC 4343)."""
    if not isinstance(value, str) or len(value) > 253 or not all(map(_HOST_LABEL.fullmatch, value.split("."))):
        raise ValueError
    return value.lower()


def peer_name(value: object) -> str:
    """Accept the name of a peer, which also stands in logs."""
    if not isinstance(value, str) or not _PEER_NAME.fullmatch(value):
        raise ValueError
    return value


def file_path(value: object) -> Path:
    """Accept an absolute path: the daemon's working directory means nothing to the one who writes the file."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise ValueError
    return Path(value)


def file_name(value: object) -> str:
    """Accept a path, which may be one from the folder of the file that has it."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError
    return value


def rate(value: object) -> int:
    """Accept a rate in the notation of tc(8), with a unit of bits; answer in bits per second.

    A bare number would be bits to tc and ``mbps`` megabytes: neither is what people mean.
    """
    match = _RATE.fullmatch(value.lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    found = round(float(match[1]) * _UNITS[match[2]])
    if found not in _RATES:
        raise ValueError
    return found


def native(value: object) -> object:
    """Accept ``off`` as YAML 1.1 reads it: as no."""
    return "off" if value is False else value


InterfaceName = Annotated[str, BeforeValidator(interface_name)]
BindField = Annotated[Bind, BeforeValidator(bind)]
HostField = Annotated[str, BeforeValidator(host)]
TunAddress = Annotated[ipaddress.IPv4Interface | ipaddress.IPv6Interface, BeforeValidator(tun_address)]
TunAddress6 = Annotated[ipaddress.IPv6Interface, BeforeValidator(tun_address6)]
DscpField = Annotated[int | Literal["copy"], BeforeValidator(dscp)]
PinsField = Annotated[tuple[str, ...], BeforeValidator(pins)]
PinField = Annotated[str, BeforeValidator(pin)]
NameField = Annotated[str, BeforeValidator(dns_name)]
PeerNameField = Annotated[str, BeforeValidator(peer_name)]
RateField = Annotated[int, BeforeValidator(rate)]
PathField = Annotated[Path, BeforeValidator(file_path)]
FileName = Annotated[str, BeforeValidator(file_name)]
NativeField = Annotated[Literal["auto", "off"], BeforeValidator(native)]
