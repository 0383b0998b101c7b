# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to packets that are too big: to whom, how many, and every byte of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.icmp import RATE, TooBig

OWN4 = IPv4Interface("10.200.4.1/30")
OWN6 = IPv6Interface("fd00::1/64")
MTU = 1341


def ipv4(
    size: int = 1441, *, flags: int = 0x4000, protocol: int = 6, body: bytes = b"", source: str = "ac100402"
) -> bytes:
    head = b"\x45\x00" + size.to_bytes(2, "big") + b"\x12\x34" + flags.to_bytes(2, "big") + bytes([63, protocol, 0, 0])
    head += bytes.fromhex(source) + bytes([192, 0, 2, 80])
    return head + body + bytes(size - 20 - len(body))


def ipv6(
    size: int = 1441, *, following: int = 6, body: bytes = b"", source: str = "20010db8" + "00" * 11 + "05"
) -> bytes:
    head = b"\x60\x00\x00\x00" + (size - 40).to_bytes(2, "big") + bytes([following, 63]) + bytes.fromhex(source)
    return head + bytes.fromhex("20010db8" + "00" * 11 + "09") + body + bytes(size - 40 - len(body))


def total(data: bytes) -> int:
    """Return the ones' complement sum, by the book (RFC 1071 section 4.1)."""
    data += b"\0" * (len(data) % 2)
    found = sum(data[at] << 8 | data[at + 1] for at in range(0, len(data), 2))
    while found >> 16:
        found = (found & 0xFFFF) + (found >> 16)
    return found


def test_the_answer_of_rfc_1191() -> None:
    packet = ipv4(body=bytes(range(60)))
    answer = TooBig(OWN4).answer(packet, MTU, 0.0)
    assert answer is not None
    assert len(answer) == int.from_bytes(answer[2:4], "big") == 576
    assert (answer[0], answer[9]) == (0x45, 1)
    assert answer[12:16] == bytes([10, 200, 4, 2])
    assert answer[16:20] == packet[12:16]
    assert answer[20:22] == bytes([3, 4])
    assert answer[24:28] == bytes([0, 0]) + MTU.to_bytes(2, "big")
    assert answer[28:] == packet[: 576 - 28]
    assert total(answer[:20]) == total(answer[20:]) == 0xFFFF


def test_the_answer_of_rfc_4443() -> None:
    packet = ipv6(body=bytes(range(60)))
    answer = TooBig(OWN6).answer(packet, 1300, 0.0)
    assert answer is not None
    assert len(answer) == 40 + int.from_bytes(answer[4:6], "big") == 1280
    assert answer[6] == 58
    assert answer[8:24] == bytes.fromhex("fd00" + "00" * 13 + "02")
    assert answer[24:40] == packet[8:24]
    assert answer[40:42] == bytes([2, 0])
    assert answer[44:48] == (1300).to_bytes(4, "big")
    assert answer[48:] == packet[: 1280 - 48]
    pseudo = answer[8:40] + (len(answer) - 40).to_bytes(4, "big") + bytes([0, 0, 0, 58])
    assert total(pseudo + answer[40:]) == 0xFFFF


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(flags=0),
        ipv4(flags=0x4000 | 100),
        *(ipv4(protocol=1, body=bytes([kind])) for kind in (3, 4, 5, 11, 12)),
        ipv4(source="e0000001"),
        ipv4(source="ffffffff"),
        ipv4(source="00000000"),
        ipv4(source="7f000001"),
        b"\x45" + ipv4()[1:16] + bytes([224, 0, 0, 5]) + ipv4()[20:],
        ipv6(),
    ],
)
def test_packets_that_deserve_no_answer(packet: bytes) -> None:
    assert TooBig(OWN4).answer(packet, MTU, 0.0) is None


@pytest.mark.parametrize(
    "packet",
    [
        *(ipv6(following=58, body=bytes([kind])) for kind in (1, 2, 3, 4, 127, 137)),
        ipv6(following=0, body=bytes([58, 0, 0, 0, 0, 0, 0, 0, 1])),
        ipv6(following=60, body=bytes([44, 0, *[0] * 6, 6, 0, 0x01, 0x00])),
        ipv6(following=44, body=bytes([58, 0, 0, 1, 0, 0, 0, 0, 2])),
        ipv6(source="ff02" + "00" * 14),
        ipv6(source="00" * 16),
        ipv4(),
    ],
)
def test_packets_of_ipv6_that_deserve_no_answer(packet: bytes) -> None:
    assert TooBig(OWN6).answer(packet, MTU, 0.0) is None


def test_others_deserve_one() -> None:
    assert TooBig(OWN4).answer(ipv4(protocol=1, body=bytes([8])), MTU, 0.0)
    assert TooBig(OWN4).answer(ipv4(flags=0x6000), MTU, 0.0)
    assert TooBig(OWN6).answer(ipv6(following=58, body=bytes([128])), MTU, 0.0)
    assert TooBig(OWN6).answer(ipv6(following=44, body=bytes([6, 0, 0, 1, 0, 0, 0, 0])), MTU, 0.0)
    assert TooBig(OWN6).answer(ipv6(following=43, body=bytes([58, 0, *[0] * 6, 129])), MTU, 0.0)


@pytest.mark.parametrize(
    ("own", "far"),
    [
        ("10.200.4.1/30", "10.200.4.2"),
        ("10.200.4.2/30", "10.200.4.1"),
        ("10.200.4.0/31", "10.200.4.1"),
        ("10.200.4.1/31", "10.200.4.0"),
        ("10.200.4.7/24", "10.200.4.1"),
    ],
)
def test_answers_come_from_the_far_end(own: str, far: str) -> None:
    answer = TooBig(IPv4Interface(own)).answer(ipv4(), MTU, 0.0)
    assert answer is not None
    assert ".".join(map(str, answer[12:16])) == far


def test_nobody_answers_without_an_address() -> None:
    assert TooBig().answer(ipv4(), MTU, 0.0) is None
    assert TooBig().answer(ipv6(), MTU, 0.0) is None
    assert TooBig(IPv4Interface("10.0.0.1/32")).answer(ipv4(), MTU, 0.0) is None


@pytest.mark.parametrize(
    ("own", "source"),
    [
        (OWN6, "fd00::2"),
        (IPv6Interface("fd00::ffff/64"), "fd00::1"),
        # Of no network to take another address from.
        (IPv6Interface("fd00::5/128"), "fd00::5"),
    ],
)
def test_each_family_has_a_source(own: IPv6Interface, source: str) -> None:
    for maker in (TooBig(OWN4, own), TooBig(own, OWN4)):
        answers = maker.answer(ipv4(), MTU, 0.0), maker.answer(ipv6(), MTU, 0.0)
        assert answers[0] is not None
        assert answers[0][12:16] == bytes([10, 200, 4, 2])
        assert answers[1] is not None
        assert answers[1][8:24] == IPv6Address(source).packed


def test_a_peer_that_is_known_answers() -> None:
    peer = IPv4Address("10.200.10.254")
    for own in (OWN4, IPv4Interface("10.200.10.1/32")):
        answer = TooBig(own, OWN6, peer=peer).answer(ipv4(), MTU, 0.0)
        assert answer is not None
        assert answer[12:16] == peer.packed


def test_where_ipv6_does_not_fit_there_is_no_route() -> None:
    packet = ipv6(100)
    assert TooBig(OWN6).answer(packet, 1280, 0.0)[40:42] == bytes([2, 0])  # type: ignore[index]
    answer = TooBig(OWN6).answer(packet, 1279, 0.0)
    assert answer is not None
    assert answer[40:42] == bytes([1, 0])
    assert answer[44:48] == bytes(4)
    assert answer[48:] == packet
    pseudo = answer[8:40] + (len(answer) - 40).to_bytes(4, "big") + bytes([0, 0, 0, 58])
    assert total(pseudo + answer[40:]) == 0xFFFF
    # RFC 4443 section 2.4 (e.3): to many, "packet too big" is the only answer.
    many = packet[:24] + bytes.fromhex("ff0e" + "00" * 13 + "01") + packet[40:]
    assert TooBig(OWN6).answer(many, 1280, 0.0) is not None
    assert TooBig(OWN6).answer(many, 1279, 0.0) is None


def test_ten_answers_a_second() -> None:
    maker = TooBig(OWN4)
    for start in (1000.0, 1060.0):
        answered = sum(maker.answer(ipv4(), MTU, start + step / 100) is not None for step in range(301))
        assert answered in {RATE + 3 * RATE - 1, RATE + 3 * RATE}


@given(st.binary(min_size=20, max_size=100), st.sampled_from([OWN4, OWN6]))
def test_no_packet_raises(data: bytes, own: IPv4Interface | IPv6Interface) -> None:
    for first in (0x45, 0x4F, 0x60):
        for mtu in (MTU, 1200):
            TooBig(own).answer(bytes([first]) + data[1:], mtu, 0.0)
