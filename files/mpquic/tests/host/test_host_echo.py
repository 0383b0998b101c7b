# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP echo requests, byte by byte."""

from __future__ import annotations

from mpquic.host.echo import checksum, request


def test_request_is_a_valid_echo_request():
    packet = request(0x1234, 7, b"payload!")
    assert packet[:2] == b"\x08\x00"
    assert packet[4:8] == b"\x12\x34\x00\x07"
    assert packet[8:] == b"payload!"
    # A message with its checksum in place sums up to zero (RFC 1071 section 1).
    assert checksum(packet) == 0


def test_checksum_follows_the_example_of_rfc_1071():
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_checksum_pads_an_odd_length():
    assert checksum(b"\x01") == checksum(b"\x01\x00")
