# SPDX-License-Identifier: GPL-3.0-or-later
"""The blocks of hex in docs/protocol.md are what this program writes and reads."""

from __future__ import annotations

import re
from collections import Counter
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from mpquic.core import messages, wire
from mpquic.core.capsules import CapsuleReader
from mpquic.core.gate import OPEN
from mpquic.core.messages import Confirm, Hello, Message, Refused, Register, Registered
from mpquic.core.offload import BareCodec

PAGE = Path(__file__).parents[4] / "docs" / "protocol.md"
ID = bytes(range(0xA0, 0xB0))
PREFIXES = tuple(map(ip_network, ["10.200.4.1/32", "172.16.4.0/30", "fd00:4::/64"]))
BOTH = tuple(map(ip_network, ["10.200.10.5/32", "fd6d:7071:10::5/128", "172.16.5.0/24"]))
MESSAGES: dict[str, Message] = {
    "hello": Hello(1, 1),
    "register": Register(ID, 0, PREFIXES),
    "register-both-families": Register(bytes(range(0xB0, 0xC0)), 0, BOTH),
    "registered": Registered(ID, PREFIXES),
    "refused": Refused(ID, messages.NOT_ALLOWED, "10.200.4.9/32 is not of this key"),
    "confirm": Confirm(ID),
}


@pytest.fixture(scope="module")
def blocks() -> dict[str, bytes]:
    found = re.findall(r"^```hex ([\w-]+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(dict(found)) == len(found)
    return {name: bytes.fromhex(text) for name, text in found}


def test_every_block_is_looked_at(blocks: dict[str, bytes]) -> None:
    assert set(blocks) == {*MESSAGES, "skipped", "udp-complete", "udp-open", "legacy-registration"}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_are_written_and_read_like_that(name: str, blocks: dict[str, bytes]) -> None:
    assert MESSAGES[name].encode() == blocks[name]
    [(kind, value)] = CapsuleReader().feed(blocks[name])
    assert messages.decode(kind, value) == MESSAGES[name]
    assert messages.decode(kind, value + b"later") == MESSAGES[name]


def test_an_unknown_capsule_is_skipped(blocks: dict[str, bytes]) -> None:
    [(kind, value), (after, _version)] = CapsuleReader().feed(blocks["skipped"] + blocks["hello"])
    assert (kind % 0x29, value) == (0x17, b"\xaa\xbb\xcc")
    assert messages.decode(kind, value) is None
    assert after == messages.HELLO


def test_an_open_checksum_is_completed_as_the_page_says(blocks: dict[str, bytes]) -> None:
    complete, opened = blocks["udp-complete"], blocks["udp-open"]
    assert (complete[0], opened[0]) == (wire.CONTEXT_IP, wire.CONTEXT_PARTIAL)
    drops: Counter[str] = Counter()
    frames, packets, _octets = BareCodec().egress([complete, opened], drops, OPEN)
    assert [b"".join(frame) for frame in frames] == [complete[1:], complete[1:]]
    assert (packets, drops) == (2, Counter())


def test_a_reference_client_registers_by_its_address(blocks: dict[str, bytes]) -> None:
    assert blocks["legacy-registration"] == ip_address("10.200.4.1").packed
