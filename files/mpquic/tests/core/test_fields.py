# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from the headers of a packet to tell its flow and its class."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.multipath.fields import Fields, fields
from packets import PADDING, TCP, UDP, Packet

PORTS = (40000).to_bytes(2, "big") + (443).to_bytes(2, "big")
V6 = {"source": "fd81:1::2", "target": "fd81:2::2"}
NEAR_6, FAR_6 = bytes.fromhex("fd81000100000000 0000000000000002"), bytes.fromhex("fd81000200000000 0000000000000002")
NEAR_4, FAR_4 = bytes((10, 81, 1, 2)), bytes((10, 81, 2, 2))


def six(protocol: int, behind: bytes) -> bytes:
    return b"\x60\x00\x00\x00" + len(behind).to_bytes(2, "big") + bytes((protocol, 64)) + NEAR_6 + FAR_6 + behind


@pytest.mark.parametrize("at", [0, 10])
@pytest.mark.parametrize(
    ("packet", "found"),
    [
        (Packet(tos=0xB9), Fields(46, TCP, NEAR_4, FAR_4, PORTS)),
        (Packet(protocol=UDP, ip_options=bytes(8)), Fields(0, UDP, NEAR_4, FAR_4, PORTS)),
        (Packet(protocol=UDP, tos=0xB8, **V6), Fields(46, UDP, NEAR_6, FAR_6, PORTS)),
        (Packet(extension=PADDING, **V6), Fields(0, TCP, NEAR_6, FAR_6, PORTS)),
    ],
)
def test_packets_with_ports(packet: Packet, found: Fields, at: int) -> None:
    assert fields(bytes(at) + bytes(packet), at) == found


@pytest.mark.parametrize("fragment", [0x2000, 0x2001, 0x0001, 0x1FFF])
def test_all_fragments_of_a_packet_are_alike_and_show_no_ports(fragment: int) -> None:
    found = fields(bytes(Packet(protocol=UDP, fragment=fragment)), 0)
    assert found == Fields(0, UDP, NEAR_4, FAR_4, b"")


def test_the_df_bit_is_no_fragment() -> None:
    found = fields(bytes(Packet(protocol=UDP, fragment=0x4000)), 0)
    assert found is not None
    assert found.ports == PORTS


@pytest.mark.parametrize(
    ("protocol", "behind", "found", "ports"),
    [
        # Hop-by-hop, destination options, routing, then UDP.
        (0, b"\x3c\x00" + bytes(6) + b"\x2b\x01" + bytes(14) + b"\x11\x00" + bytes(6) + PORTS, UDP, PORTS),
        # An authentication header counts in words of four bytes.
        (51, b"\x06\x04" + bytes(22) + PORTS, TCP, PORTS),
        # A first fragment, a later one, and an atomic one.
        (44, b"\x11\x00\x00\x01" + bytes(4) + PORTS, UDP, b""),
        (44, b"\x11\x00\x00\x08" + bytes(4) + PORTS, UDP, b""),
        (44, b"\x11\x00\x00\x00" + bytes(4) + PORTS, UDP, PORTS),
        # Encrypted, no next header, ICMPv6.
        (50, bytes(16), 50, b""),
        (59, b"", 59, b""),
        (58, b"\x80\x00" + bytes(6), 58, b""),
        # Cut off.
        (0, b"\x11\x00", 0, b""),
        (0, b"\x11\x05" + bytes(6), UDP, b""),
        (17, PORTS[:3], UDP, b""),
    ],
)
def test_ipv6_extension_headers(protocol: int, behind: bytes, found: int, ports: bytes) -> None:
    assert fields(six(protocol, behind), 0) == Fields(0, found, NEAR_6, FAR_6, ports)


def test_a_packet_of_extension_headers_only_ends() -> None:
    found = fields(six(0, (b"\x00\x00" + bytes(6)) * 100), 0)
    assert found is not None
    assert found.ports == b""


@given(st.binary(max_size=90), st.sampled_from([b"", b"\x45", b"\x4f", b"\x60", b"\x60\x00\x00\x00\x00\x00\x2c"]))
def test_any_bytes(data: bytes, start: bytes) -> None:
    found = fields(start + data, 0)
    if found is not None:
        assert len(found.source) == len(found.destination) in {4, 16}
        assert len(found.ports) in {0, 4}
