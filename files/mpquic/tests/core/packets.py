# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP and UDP packets of every shape, made and checked without the code under test."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field, replace

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
TCP, UDP = 6, 17
#: Timestamps as Linux sends them: NOP, NOP, kind 8, 10 bytes.
TIMESTAMPS = b"\x01\x01\x08\x0a\x00\x01\x02\x03\xff\xfe\xfd\xfc"
#: Hop-by-hop options (RFC 8200 section 4.3) that hold only padding.
PADDING = b"\x01\x04\x00\x00\x00\x00"


def words(data: bytes) -> int:
    """Return the folded sum of 16-bit words (RFC 1071)."""
    if len(data) % 2:
        data += b"\x00"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@dataclass(frozen=True)
class Packet:
    """One packet, or one of many segments; ``bytes`` of it leave the transport checksum to be completed."""

    body: bytes = b""
    protocol: int = TCP
    source: str = "10.81.1.2"
    target: str = "10.81.2.2"
    ports: tuple[int, int] = (40000, 443)
    tos: int = 0
    ttl: int = 64
    ident: int = 1
    fragment: int = 0x4000
    ip_options: bytes = b""
    extension: bytes = b""
    flow_label: int = 0
    sequence: int = 1
    acknowledged: int = 99
    flags: int = ACK
    window: int = 501
    urgent: int = 0
    tcp_options: bytes = b""
    pseudo: int | None = field(default=None)

    @property
    def v6(self) -> bool:
        return ":" in self.source

    @property
    def transport(self) -> int:
        """Where the transport header starts."""
        return 40 + (2 + len(self.extension) if self.extension else 0) if self.v6 else 20 + len(self.ip_options)

    @property
    def headers(self) -> int:
        """Length of all headers."""
        return self.transport + (20 + len(self.tcp_options) if self.protocol == TCP else 8)

    @property
    def checksum_at(self) -> int:
        """Where the transport checksum is, from the transport header on."""
        return 16 if self.protocol == TCP else 6

    def __bytes__(self) -> bytes:
        size = self.headers + len(self.body)
        length = size - self.transport
        addresses = ipaddress.ip_address(self.source).packed + ipaddress.ip_address(self.target).packed
        pseudo = words(addresses + struct.pack(">II", self.protocol, length)) if self.pseudo is None else self.pseudo
        if self.protocol == TCP:
            transport = struct.pack(
                ">HHIIBBHHH",
                *self.ports,
                self.sequence & 0xFFFFFFFF,
                self.acknowledged,
                (20 + len(self.tcp_options)) << 2,
                self.flags,
                self.window,
                pseudo,
                self.urgent,
            )
            transport += self.tcp_options
        else:
            transport = struct.pack(">HHHH", *self.ports, length, pseudo)
        if self.v6:
            extension = bytes([self.protocol]) + self.extension if self.extension else b""
            extension = extension[:1] + bytes([len(self.extension) // 8]) + extension[1:] if extension else b""
            first = 0x60000000 | self.tos << 20 | self.flow_label
            protocol = 0 if extension else self.protocol
            network = struct.pack(">IHBB", first, size - 40, protocol, self.ttl) + addresses + extension
        else:
            network = struct.pack(
                ">BBHHHBBH8s",
                0x45 + len(self.ip_options) // 4,
                self.tos,
                size,
                self.ident & 0xFFFF,
                self.fragment,
                self.ttl,
                self.protocol,
                0,
                addresses,
            )
            network += self.ip_options
            network = network[:10] + (0xFFFF - words(network)).to_bytes(2, "big") + network[12:]
        return network + transport + self.body

    def complete(self) -> bytes:
        """Return the packet with its transport checksum."""
        return complete(bytes(self), self.transport, self.checksum_at)

    def read(self, step: int = 0) -> bytes:
        """Return what is read from or written to a device with offload, in segments of ``step`` bytes."""
        kind = 0
        if step:
            kind = 5 if self.protocol == UDP else 4 if self.v6 else 1
            if self.protocol == TCP and self.flags & CWR:
                kind |= 0x80
        return struct.pack(
            "<BBHHHH", 1, kind, self.headers if step else 0, step, self.transport, self.checksum_at
        ) + bytes(self)

    def segments(self, step: int) -> list[Packet]:
        """Return what RFC 9293, RFC 3168 and RFC 791 want of a packet cut into bodies of ``step`` bytes."""
        found = []
        starts = range(0, max(1, len(self.body)), step)
        for number, start in enumerate(starts):
            flags = self.flags
            if number:
                flags &= ~CWR
            if number != len(starts) - 1:
                flags &= ~(PSH | FIN)
            body = self.body[start : start + step]
            found.append(
                replace(self, body=body, ident=self.ident + number, sequence=self.sequence + start, flags=flags)
            )
        return found


def complete(packet: bytes, start: int, offset: int) -> bytes:
    """Return the packet with the checksum at ``start + offset`` completed."""
    checksum = (0xFFFF - words(packet[start:])) or 0xFFFF
    return packet[: start + offset] + checksum.to_bytes(2, "big") + packet[start + offset + 2 :]
