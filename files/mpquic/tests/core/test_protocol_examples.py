# SPDX-License-Identifier: GPL-3.0-or-later
"""The blocks of hex in docs/protocol.md are what this program writes and reads."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path as FilePath

import pytest
from mpquic.core import messages, wire
from mpquic.core.capsules import CapsuleReader
from mpquic.core.fit import Fit
from mpquic.core.gate import OPEN
from mpquic.core.icmp import TooBig
from mpquic.core.lane import Lane
from mpquic.core.messages import (
    Confirm,
    Hello,
    Join,
    Joined,
    Message,
    PolicyUpdate,
    Refused,
    Register,
    Registered,
    Renew,
)
from mpquic.core.multipath import policy_wire, report
from mpquic.core.multipath.bundle import Bundle
from mpquic.core.multipath.health import State
from mpquic.core.multipath.policy import PathSpec, Policy, Rule, TrafficClass
from mpquic.core.multipath.report import Seen
from mpquic.core.multipath.sequence import Sequencer
from mpquic.core.offload import BareCodec
from mpquic.core.path import Path
from mpquic.core.types import Counters

PAGE = FilePath(__file__).parents[4] / "docs" / "protocol.md"
ID = bytes(range(0xA0, 0xB0))
PREFIXES = tuple(map(ip_network, ["10.200.4.1/32", "172.16.4.0/30", "fd00:4::/64"]))
BOTH = tuple(map(ip_network, ["10.200.10.5/32", "fd6d:7071:10::5/128", "172.16.5.0/24"]))
LAN = ip_network("172.16.20.0/24")
JOINING = (ip_network("10.200.17.1/32"), LAN)
POLICY = Policy(
    7,
    (PathSpec(1, "wan1", 0, 0, 2, None), PathSpec(2, "wan2", 1, 10, 1, 50_000_000)),
    (TrafficClass("default", "priority"), TrafficClass("voip", "failover", preferred=(1,), copies=2)),
    0,
    (Rule(1, frozenset({17}), (LAN,), destination_ports=((16384, 32767),), dscps=frozenset({46})),),
)
LATER = replace(POLICY, generation=8, rules=())
SESSION, EPOCH = bytes(range(0xC0, 0xD0)), bytes(range(0xE0, 0xF0))
MESSAGES: dict[str, Message] = {
    "hello": Hello(1, 2),
    "hello-version-1": Hello(1, 1),
    "hello-several-paths": Hello(2, 2),
    "join": Join(ID, SESSION, 2, JOINING, policy_wire.encode(POLICY)),
    "joined": Joined(ID, EPOCH, JOINING),
    "register": Register(ID, 0, PREFIXES),
    "register-both-families": Register(bytes(range(0xB0, 0xC0)), 0, BOTH),
    "registered": Registered(ID, PREFIXES),
    "refused": Refused(ID, messages.NOT_ALLOWED, "10.200.4.9/32 is not of this key"),
    "confirm": Confirm(ID),
    "renew": Renew(),
}


@pytest.fixture(scope="module")
def blocks() -> dict[str, bytes]:
    found = re.findall(r"^```hex ([\w-]+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(dict(found)) == len(found)
    return {name: bytes.fromhex(text) for name, text in found}


def test_every_block_is_looked_at(blocks: dict[str, bytes]) -> None:
    others = {"skipped", "udp-complete", "udp-open", "legacy-registration"}
    assert set(blocks) == {*MESSAGES, *others, "policy", "policy-update", "sequenced", "path-status"}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_are_written_and_read_like_that(name: str, blocks: dict[str, bytes]) -> None:
    assert MESSAGES[name].encode() == blocks[name]
    [(kind, value)] = CapsuleReader().feed(blocks[name])
    assert messages.decode(kind, value) == MESSAGES[name]
    assert messages.decode(kind, value + b"later") == MESSAGES[name]


def test_a_policy_is_written_and_read_like_that(blocks: dict[str, bytes]) -> None:
    assert policy_wire.encode(POLICY) == blocks["policy"]
    assert policy_wire.decode(blocks["policy"]) == POLICY
    assert blocks["policy"] in blocks["join"]
    assert PolicyUpdate(policy_wire.encode(LATER)).encode() == blocks["policy-update"]
    [(kind, value)] = CapsuleReader().feed(blocks["policy-update"])
    message = messages.decode(kind, value)
    assert isinstance(message, PolicyUpdate)
    assert policy_wire.decode(message.policy + b"later") == LATER


def test_a_payload_is_numbered_like_that(blocks: dict[str, bytes]) -> None:
    sequencer = Sequencer()
    sequencer.number([b"\0"] * 258, [0x17], [258], 0, ordered=False, copy=False)
    assert sequencer.number([blocks["udp-complete"]], [0x17], [1], 1, ordered=False, copy=True) == [blocks["sequenced"]]
    assert len(blocks["sequenced"]) == len(blocks["udp-complete"]) + wire.SEQUENCED_OVERHEAD - wire.OVERHEAD
    bundle = Bundle(POLICY, Counters(), 0.0, server=True)
    lane = Lane(Counters(), front=wire.SEQUENCED_OVERHEAD)
    path = Path(1, "wan1", lane, Fit(lane, TooBig()))
    bundle.configure(POLICY, {1: path}, 0.0)
    frames = [bundle.accept(path, [blocks["sequenced"]], 0.0) for _again in range(2)]
    assert [[b"".join(frame) for frame in each] for each in frames] == [[blocks["udp-complete"][1:]], []]
    assert bundle.classes()[1].rx_packets == bundle.classes()[1].rx_dups == 1


def test_paths_are_reported_like_that(blocks: dict[str, bytes]) -> None:
    seen = [Seen(1, State.UP, 0.0, 0.0205), Seen(2, State.SUSPECT, 0.05, 0.041)]
    assert report.encode(9, seen) == blocks["path-status"]
    assert report.decode(blocks["path-status"]) == (9, seen)


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
