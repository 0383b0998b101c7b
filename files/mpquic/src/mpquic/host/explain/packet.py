# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet to explain, and the names of what its header holds."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from mpquic.host.errors import UsageError

Address = IPv4Address | IPv6Address

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
WITH_PORTS = {TCP: "tcp", UDP: "udp", 33: "dccp", SCTP: "sctp", 136: "udplite"}
"""Protocols whose header begins with a source and a destination port."""

# As nft prints them (/etc/protocols may be missing on a small host); the first name of a number is the one shown.
PROTOCOLS = {
    "icmp": ICMP,
    "igmp": 2,
    "tcp": TCP,
    "udp": UDP,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": ICMPV6,
    "ipv6-icmp": ICMPV6,
    "comp": 108,
    "sctp": SCTP,
    "udplite": 136,
}
# RFC 2474, RFC 2597, RFC 3246, RFC 5865, RFC 8622; "be" and "lephb" are nft's names of 0 and 1.
DSCPS = {
    **{f"cs{number}": 8 * number for number in range(8)},
    **{f"af{a}{b}": 8 * a + 2 * b for a in range(1, 5) for b in range(1, 4)},
    "ef": 46,
    "va": 44,
    "le": 1,
    "lephb": 1,
    "be": 0,
    "df": 0,
}
_INTERFACE = re.compile(r"[^\s/:%]{1,15}")


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a flow; `iif` is None when this host sends it, None elsewhere means not given."""

    source: Address
    destination: Address
    protocol: int | None = None
    sport: int | None = None
    dport: int | None = None
    dscp: int = 0
    iif: str | None = None

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.source.version

    def __str__(self) -> str:
        """Return the packet in one line."""
        what = "any protocol" if self.protocol is None else protocol_name(self.protocol)
        ends = [
            str(address) if port is None else f"[{address}]:{port}" if self.version == 6 else f"{address}:{port}"
            for address, port in ((self.source, self.sport), (self.destination, self.dport))
        ]
        origin = f"in by {self.iif}" if self.iif else "sent by this host"
        return f"{what} {ends[0]} -> {ends[1]}, dscp {dscp_name(self.dscp)}, {origin}"


def parse(  # noqa: PLR0913 - one for each option
    source: str,
    destination: str,
    *,
    protocol: str | None = None,
    sport: int | None = None,
    dport: int | None = None,
    dscp: str = "0",
    iif: str | None = None,
) -> Packet:
    """Read what an operator typed.

    Args:
        source: IPv4 or IPv6 address.
        destination: Address of the same family.
        protocol: A name, or 0 to 255; ``icmp`` between IPv6 addresses is ICMPv6.
        sport: Source port, 0 to 65535, of a protocol that has ports.
        dport: Destination port, likewise.
        dscp: A name, or 0 to 63.
        iif: Interface that it comes in by.

    Raises:
        UsageError: naming every argument that is not usable.

    """
    faults: list[str] = []
    ends = [_address(text, option, faults) for text, option in ((source, "src"), (destination, "dst"))]
    number = None if protocol is None else protocol_number(protocol)
    if protocol is not None and number is None:
        faults.append(f"proto {protocol}: expected tcp, udp, icmp, another name or 0 to 255")
    codepoint = dscp_number(dscp)
    if codepoint is None:
        faults.append(f"dscp {dscp}: expected 0 to 63, or a name such as ef, af41 or cs6")
    for option, port in (("sport", sport), ("dport", dport)):
        if port is not None and not 0 <= port <= 65535:
            faults.append(f"{option} {port}: expected 0 to 65535")
        if port is not None and (protocol is None or (number is not None and number not in WITH_PORTS)):
            faults.append(f"{option} {port}: expected a protocol with ports, such as tcp or udp")
    if iif is not None and not _INTERFACE.fullmatch(iif):
        faults.append(f"iif {iif!r}: expected an interface name")
    first, second = ends
    if first is not None and second is not None and first.version != second.version:
        faults.append(f"src {first} and dst {second}: expected addresses of one family")
    if faults or first is None or second is None or codepoint is None:
        raise UsageError("\n".join(f"explain: {fault}" for fault in faults))
    if number == ICMP and first.version == 6:
        number = ICMPV6
    return Packet(first, second, number, sport, dport, codepoint, iif)


def _address(text: str, option: str, faults: list[str]) -> Address | None:
    try:
        # A zone (RFC 4007 section 11) says what --iif says.
        found = ip_address(text.partition("%")[0])
    except ValueError:
        faults.append(f"{option} {text}: expected an IPv4 or IPv6 address")
        return None
    return found


def protocol_number(text: str | int) -> int | None:
    """Return the number of an IP protocol, None for what is none."""
    word = str(text).lower()
    if word.isdecimal():
        return int(word) if int(word) <= 255 else None
    if word in PROTOCOLS:
        return PROTOCOLS[word]
    try:
        return socket.getprotobyname(word)
    except OSError:
        return None


def protocol_name(number: int) -> str:
    """Return the name of an IP protocol, its number when it has none here."""
    return next((name for name, known in PROTOCOLS.items() if known == number), str(number))


def dscp_number(text: str | int) -> int | None:
    """Return a DSCP, None for what is none."""
    word = str(text).lower()
    if word in DSCPS:
        return DSCPS[word]
    try:
        number = int(word, 0)
    except ValueError:
        return None
    return number if 0 <= number <= 63 else None


def dscp_name(number: int) -> str:
    """Return the name of a DSCP, its number when it has none."""
    if number == 0:
        return "0"
    return next((name for name, known in DSCPS.items() if known == number), str(number))
