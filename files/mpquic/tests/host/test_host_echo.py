# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP echo requests, byte by byte."""

from __future__ import annotations

import socket

from mpquic.host.echo import COUNT, Probe, checksum, echo, request


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


def test_requests_are_critical_and_so_are_the_replies():
    """A tunnel full of bulk is healthy: the echo must not wait in its queue."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as listener:
        listener.settimeout(2)
        found = echo({"lo": Probe("lo", "127.0.0.1", "127.0.0.1")}, 1.0)
        assert len(found["lo"].rtt_ms) == COUNT
        seen = [listener.recv(2048) for _ in range(2 * COUNT)]
    assert {packet[1] >> 2 for packet in seen if packet[12:16] == b"\x7f\0\0\1"} == {46}, "DSCP EF"
