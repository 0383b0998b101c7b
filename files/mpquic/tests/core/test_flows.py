# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: what tells flows apart, what is remembered of them, for how long and how many."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core import flows
from mpquic.core.flows import AGE, FRESH, FlowMemory, key, turned
from mpquic.core.gate import OPEN
from mpquic.core.offload import BareCodec, VnetCodec
from mpquic.core.types import Counters
from packets import ACK, TCP, UDP, Packet

if TYPE_CHECKING:
    from collections.abc import Sequence

OUT = Packet(source="172.16.5.2", target="192.0.2.9", ports=(40000, 443), protocol=TCP, flags=ACK, body=b"x" * 30)
OUT_6 = replace(OUT, source="fd00:5::2", target="2001:db8::9")


def back(packet: Packet) -> Packet:
    return replace(packet, source=packet.target, target=packet.source, ports=packet.ports[::-1])


def bare(version: int, protocol: int, *, fragment: int = 0, source: int = 1, target: int = 2) -> bytes:
    """Return a packet of some other protocol, or a fragment, between two hosts."""
    body = bytes(range(20))
    if version == 4:
        head = bytes([0x45, 0, 0, 40, 0, 1]) + fragment.to_bytes(2, "big") + bytes([64, protocol, 0, 0])
        return head + bytes([10, 0, 0, source]) + bytes([10, 0, 0, target]) + body
    extension = bytes([protocol, 0]) + fragment.to_bytes(2, "big") + bytes(4) if fragment else b""
    head = bytes([0x60, 0, 0, 0, 0, len(extension) + len(body), 44 if fragment else protocol, 64])
    return head + bytes(15) + bytes([source]) + bytes(15) + bytes([target]) + extension + body


@pytest.mark.parametrize("packet", [OUT, OUT_6, replace(OUT, ip_options=bytes(8)), replace(OUT, protocol=UDP)])
def test_an_answer_goes_back_where_the_question_came_from(packet: Packet) -> None:
    memory = FlowMemory()
    for at in (0, 10):
        memory.learn(bytes(at) + bytes(packet), at, "cr", 1.0)
        assert memory.carrier(bytes(at) + bytes(back(packet)), at, 2.0) == "cr"
    # Another flow of the same hosts.
    for other in (replace(packet, ports=(40001, 443)), replace(packet, ports=(40000, 444))):
        assert memory.carrier(bytes(back(other)), 0, 2.0) is None
    assert memory.carrier(bytes(packet), 0, 2.0) is None
    # It moves with what carries it.
    memory.learn(bytes(packet), 0, "df", 3.0)
    assert memory.carrier(bytes(back(packet)), 0, 3.0) == "df"


@pytest.mark.parametrize("version", [4, 6])
def test_without_ports_the_pair_of_hosts_counts(version: int) -> None:
    memory = FlowMemory()
    memory.learn(bare(version, 50), 0, "cr", 1.0)
    assert memory.carrier(bare(version, 50, source=2, target=1), 0, 1.0) == "cr"
    assert memory.carrier(bare(version, 47, source=2, target=1), 0, 1.0) is None
    assert memory.carrier(bare(version, 50, source=2, target=3), 0, 1.0) is None
    assert memory.carrier(bare(version, 50), 0, 1.0) is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("fragment", [0x2000, 0x2010, 0x0010])
def test_fragments_of_an_answer_follow_the_last_flow_of_their_hosts(version: int, fragment: int) -> None:
    memory = FlowMemory()
    memory.learn(bare(version, UDP), 0, "cr", 1.0)
    if version == 6:
        fragment = 0x0101
    answer = bare(version, UDP, fragment=fragment, source=2, target=1)
    assert memory.carrier(answer, 0, 1.0) == "cr"
    assert memory.carrier(bare(version, TCP, fragment=fragment, source=2, target=1), 0, 1.0) is None
    # Fragments teach as well.
    memory.learn(bare(version, UDP, fragment=fragment), 0, "bk", 1.0)
    assert memory.carrier(answer, 0, 1.0) == "bk"


def test_flows_are_forgotten_when_nobody_uses_them() -> None:
    memory = FlowMemory()
    answer = bytes(back(OUT))
    memory.learn(bytes(OUT), 0, "cr", 0.0)
    assert memory.carrier(answer, 0, AGE) == "cr"
    # That was use.
    assert memory.carrier(answer, 0, 2 * AGE) == "cr"
    assert memory.carrier(answer, 0, 3 * AGE + 1) is None
    # What is forgotten takes no room from the next entry on.
    assert len(memory) == 1
    memory.learn(bytes(OUT_6), 0, "cr", 3 * AGE + 2)
    assert len(memory) == 2


def test_the_oldest_make_room() -> None:
    memory = FlowMemory(size=6)
    sent = [replace(OUT, ports=(port, 443)) for port in range(1, 9)]
    for number, packet in enumerate(sent):
        memory.learn(bytes(packet), 0, "cr", number * FRESH)
        # The first one is in use all the time.
        assert memory.carrier(bytes(back(sent[0])), 0, number * FRESH) == "cr"
    assert len(memory) == 6
    # One place is that of the pair of hosts.
    known = [memory.carrier(bytes(back(packet)), 0, 8.0) for packet in sent]
    assert known == ["cr", None, None, None, "cr", "cr", "cr", "cr"]


def test_a_fast_flow_is_only_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = FlowMemory()
    memory.learn(bytes(OUT), 0, "cr", 1.0)
    monkeypatch.setattr(memory, "_put", lambda *_args: pytest.fail("written"))
    for _ in range(3):
        memory.learn(bytes(OUT), 0, "cr", 1.0 + FRESH / 2)
        memory.carrier(bytes(back(OUT)), 0, 1.0 + FRESH / 2)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    v6 = draw(st.booleans())
    hosts = ["fd00::1", "fd00::2", "2001:db8::1"] if v6 else ["10.0.0.1", "10.0.0.2", "192.0.2.1"]
    source, target = draw(st.permutations(hosts))[:2]
    ports = draw(st.sampled_from([1, 443, 5060])), draw(st.sampled_from([1, 443, 5060]))
    return Packet(source=source, target=target, ports=ports, protocol=draw(st.sampled_from([TCP, UDP])), body=b"12")


@given(packets(), packets())
def test_keys_tell_flows_apart_and_turn(one: Packet, other: Packet) -> None:
    def flow(packet: Packet) -> tuple[object, ...]:
        return packet.protocol, packet.source, packet.target, packet.ports

    assert (key(bytes(one), 0) == key(bytes(other), 0)) == (flow(one) == flow(other))
    assert turned(key(bytes(one), 0)) == key(bytes(back(one)), 0)
    assert turned(turned(key(bytes(one), 0))) == key(bytes(one), 0)


@given(st.binary(min_size=40, max_size=80), st.sampled_from([0x45, 0x46, 0x4F, 0x60]), st.integers(0, 10))
def test_any_packet_has_a_key_that_turns(data: bytes, first: int, at: int) -> None:
    found = key(bytes(at) + bytes([first]) + data[1:], at)
    assert len(found) in {9, 13, 33, 37}
    assert turned(turned(found)) == found


@given(
    st.lists(
        st.tuples(
            st.integers(1, 8),
            st.sampled_from(["a", "b"]),
            st.sampled_from([0.0, 0.4, 1.0, 30.0]),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_the_memory_is_that_of_a_simple_one(steps: Sequence[tuple[int, str, float, bool]]) -> None:
    """An ordered dictionary of flows with ages, where pairs of hosts count as flows."""
    memory, now = FlowMemory(size=5, age=50.0), 0.0
    model: OrderedDict[object, tuple[str, float]] = OrderedDict()

    def put(flow: object, name: str) -> None:
        model[flow] = name, now
        model.move_to_end(flow)
        for old in [old for old, (_name, at) in model.items() if now - at > 50.0]:
            del model[old]
        while len(model) > 5:
            model.popitem(last=False)

    for port, name, wait, learns in steps:
        now += wait
        packet = replace(OUT, ports=(port, 443))
        known = model.get(port)
        if learns:
            memory.learn(bytes(packet), 0, name, now)
            if known is None or known[0] != name or now - known[1] >= FRESH:
                put(port, name)
                put("pair", name)
        else:
            expected = known[0] if known is not None and now - known[1] <= 50.0 else None
            assert memory.carrier(bytes(back(packet)), 0, now) == expected
            if expected is not None and known is not None and now - known[1] >= FRESH:
                put(port, expected)
        assert len(memory) == len(model) <= 5


@pytest.mark.parametrize("segments", [1, 2, 40])
@pytest.mark.parametrize("packet", [OUT, OUT_6, replace(OUT, protocol=UDP)])
def test_one_write_of_many_segments_is_one_flow(packet: Packet, segments: int) -> None:
    whole = replace(packet, body=bytes(100 * segments))
    payloads = VnetCodec(udp=True).ingress([whole.read(100) if segments > 1 else whole.read()], Counters().drops)
    assert len(payloads) == segments
    for codec in (VnetCodec(udp=True), VnetCodec(udp=False), BareCodec()):
        frames, count, _octets = codec.egress(payloads, Counters().drops, OPEN)
        assert count == segments
        found = {key(flows.packet(frame, codec.header), codec.header) for frame in frames}
        assert found == {key(bytes(whole), 0)}
    complete = [b"\0" + part.complete() for part in whole.segments(100)]
    codec = VnetCodec(udp=True)
    frames, _count, _octets = codec.egress(complete, Counters().drops, OPEN)
    assert {key(flows.packet(frame, codec.header), codec.header) for frame in frames} == {key(bytes(whole), 0)}
