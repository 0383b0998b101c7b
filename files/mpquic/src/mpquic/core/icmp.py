# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP "packet too big" for inner packets that do not fit the tunnel now (RFC 1191, RFC 4443, RFC 9484 section 10.1).

The kernel answers for what exceeds the TUN's MTU. What it let through before that MTU was lowered is answered here.

A path that carries less than 1280 bytes carries no IPv6 (RFC 8200 section 5), and no host would believe in such an MTU:
there the answer is "no route", and the sender turns to IPv4.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from mpquic.core.types import IPV6_MIN_MTU

#: Answers per second, and how many may come at once.
RATE = 10
#: RFC 1812 section 4.3.2.3: as much of the packet as fits 576 bytes. RFC 4443 section 2.4 (c): as fits 1280.
_LIMIT_4 = 576
_LIMIT_6 = 1280
_TTL = 64
_ICMP = 1
_ICMP6 = 58
_UNREACHABLE = 3
_FRAGMENTATION_NEEDED = 4
_UNREACHABLE_6 = 1
_TOO_BIG_6 = 2
#: RFC 1122 section 3.2.2: errors are not answered. Destination unreachable, source quench, redirect, time exceeded,
#: parameter problem.
_ERRORS_4 = frozenset({3, 4, 5, 11, 12})
#: RFC 4443 section 2.1: types below 128 are errors; section 2.4 (e.2): neither are redirects answered.
_INFORMATIONAL_6 = 128
_REDIRECT_6 = 137
_DONT_FRAGMENT = 0x4000
_OFFSET = 0x1FFF
#: Extension headers that may stand before the payload (RFC 8200 section 4): hop-by-hop, routing, destination options.
_EXTENSIONS = frozenset({0, 43, 60})
_FRAGMENT = 44


class TooBig:
    """Makes the answers of one tunnel, ``RATE`` per second at most."""

    def __init__(self, *own: IPv4Interface | IPv6Interface, peer: IPv4Address | None = None) -> None:
        """Answer in the families of ``own``, the addresses of the tunnel's near end.

        An IPv4 answer from an address of this host would be dropped by its kernel as a martian. It comes from ``peer``,
        the far end, or from another address of the same network; where there is neither, nothing is answered. IPv6
        knows no such martians: where the network has no other address, the answer comes from the own one.
        """
        self._peer = peer
        self._source_4: IPv4Address | None = None
        self._source_6: IPv6Address | None = None
        self._tokens = float(RATE)
        self._at = 0.0
        self.move(*own)

    def move(self, *own: IPv4Interface | IPv6Interface) -> None:
        """Answer for other addresses of the near end from now on."""
        self._source_4, self._source_6 = self._peer, None
        for interface in own:
            far = _far_end(interface)
            if isinstance(interface, IPv6Interface):
                self._source_6 = far if isinstance(far, IPv6Address) else interface.ip
            elif self._source_4 is None and isinstance(far, IPv4Address):
                self._source_4 = far

    @property
    def ipv6(self) -> bool:
        """Whether IPv6 is answered: the near end has an IPv6 address."""
        return self._source_6 is not None

    def answer(self, packet: bytes, mtu: int, now: float) -> bytes | None:
        """Return the ICMP packet that tells the sender of ``packet`` to keep to ``mtu`` bytes, None for no answer."""
        version = packet[0] >> 4
        if version == 4 and self._source_4 is not None:
            return _answer_4(packet, mtu, self._source_4) if _deserves_4(packet) and self._may(now) else None
        if version == 6 and self._source_6 is not None:
            return _answer_6(packet, mtu, self._source_6) if _deserves_6(packet, mtu) and self._may(now) else None
        return None

    def _may(self, now: float) -> bool:
        """Take a token (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f))."""
        self._tokens = min(float(RATE), self._tokens + (now - self._at) * RATE)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def _far_end(own: IPv4Interface | IPv6Interface) -> IPv4Address | IPv6Address | None:
    network = own.network
    # RFC 3021, RFC 6164: in a network of two addresses both are hosts.
    first = 0 if network.num_addresses <= 2 else 1
    for offset in range(first, min(network.num_addresses, first + 2)):
        if network[offset] != own.ip:
            return network[offset]
    return None


def _deserves_4(packet: bytes) -> bool:
    """Tell whether RFC 1122 section 3.2.2 allows an answer, and RFC 791 makes one useful: fragments may be cut."""
    flags = packet[6] << 8 | packet[7]
    if not flags & _DONT_FRAGMENT or flags & _OFFSET:
        return False
    header = (packet[0] & 0x0F) * 4
    if packet[9] == _ICMP and packet[header] in _ERRORS_4:
        return False
    return _host_4(packet[12:16]) and _host_4(packet[16:20])


def _host_4(address: bytes) -> bool:
    """Tell whether an address is one host's: not 0/8, 127/8, multicast, reserved or broadcast."""
    return 0 < address[0] < 224 and address[0] != 127


def _deserves_6(packet: bytes, mtu: int) -> bool:
    source = packet[8:24]
    # Section 2.4 (e.6): no answer to an address that is not one host's. "Packet too big" may answer a multicast
    # destination, since path MTU discovery needs it, and nothing else may (e.3).
    if source[0] == 0xFF or not any(source[:15]) or (packet[24:25] == b"\xff" and mtu < IPV6_MIN_MTU):
        return False
    kind, at = packet[6], 40
    while kind in _EXTENSIONS and at + 8 <= len(packet):
        kind, at = packet[at], at + 8 + 8 * packet[at + 1]
    if kind == _FRAGMENT and at + 8 <= len(packet):
        if (packet[at + 2] << 8 | packet[at + 3]) & 0xFFF8:
            return False
        kind, at = packet[at], at + 8
    if kind == _ICMP6 and at < len(packet):
        return packet[at] >= _INFORMATIONAL_6 and packet[at] != _REDIRECT_6
    return True


def _answer_4(packet: bytes, mtu: int, source: IPv4Address) -> bytes:
    # RFC 1191 section 4: type 3, code 4, unused, next-hop MTU.
    quote = packet[: _LIMIT_4 - 28]
    message = bytes([_UNREACHABLE, _FRAGMENTATION_NEEDED, 0, 0, 0, 0]) + mtu.to_bytes(2, "big") + quote
    message = message[:2] + _checksum(message) + message[4:]
    # RFC 1812 section 4.3.2.5: precedence 6, internetwork control.
    header = bytes([0x45, 0xC0]) + (20 + len(message)).to_bytes(2, "big") + bytes(4) + bytes([_TTL, _ICMP, 0, 0])
    header += source.packed + packet[12:16]
    return header[:10] + _checksum(header) + header[12:] + message


def _answer_6(packet: bytes, mtu: int, source: IPv6Address) -> bytes:
    # RFC 4443 section 3.2: type 2, code 0, MTU. Section 3.1: type 1, code 0 (no route), unused.
    quote = packet[: _LIMIT_6 - 48]
    kind, field = (_TOO_BIG_6, mtu) if mtu >= IPV6_MIN_MTU else (_UNREACHABLE_6, 0)
    message = bytes([kind, 0, 0, 0]) + field.to_bytes(4, "big") + quote
    size = len(message)
    addresses = source.packed + packet[8:24]
    pseudo = addresses + size.to_bytes(4, "big") + bytes([0, 0, 0, _ICMP6])
    message = message[:2] + _checksum(pseudo + message) + message[4:]
    return bytes([0x60, 0, 0, 0]) + size.to_bytes(2, "big") + bytes([_ICMP6, _TTL]) + addresses + message


def _checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071): a ones' complement sum is a remainder by 65535."""
    padded = data if len(data) % 2 == 0 else data + b"\0"
    return (-int.from_bytes(padded, "big") % 0xFFFF).to_bytes(2, "big")
