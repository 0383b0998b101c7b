# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packets are one flow, and how many flows are remembered."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.multipath.conversation import Ear
from mpquic.core.multipath.flowtable import FlowTable, key, quick_key
from packets import PADDING, TCP, UDP, Packet

V6 = Packet(source="fd81:1::2", target="fd81:2::2")
BACK = Packet(source="10.81.2.2", target="10.81.1.2", ports=(443, 40000))


def flow(table: FlowTable, packet: Packet, at: int = 0):
    data = bytes(at) + bytes(packet)
    return table.known.get(quick_key(data, at)) or table.flow(data, at)


def test_packets_of_a_flow() -> None:
    table = FlowTable()
    first = flow(table, Packet())
    same = [Packet(body=b"data", ident=9), Packet(tos=3), Packet(fragment=0), Packet(ttl=1, sequence=2), Packet(tos=1)]
    assert all(flow(table, packet) is first for packet in same)
    six = flow(table, V6, 10)
    assert all(
        flow(table, replace(V6, **what), 10) is six
        for what in ({"body": b"data"}, {"flow_label": 0xFFFFF}, {"tos": 2}, {"extension": PADDING})
    )
    assert len(table) == 2


def test_packets_of_other_flows() -> None:
    table = FlowTable()
    packets = [
        Packet(),
        Packet(protocol=UDP),
        Packet(ports=(40001, 443)),
        Packet(target="10.81.2.3"),
        Packet(tos=4),
        Packet(fragment=0x2000),
        BACK,
        V6,
    ]
    assert len({id(flow(table, packet)) for packet in packets}) == len(packets)


def test_both_directions_and_both_ends_agree_on_hash_and_bucket() -> None:
    there, back = flow(FlowTable(), Packet()), flow(FlowTable(), BACK)
    assert there.hash == back.hash
    assert there.bucket == back.bucket == there.hash & 0xFF
    # A value that no other version of this program may give, or ends of different versions would disagree.
    assert there.hash == 7726830861315513109


def test_fragments_are_a_flow_whatever_their_bytes() -> None:
    table = FlowTable()
    parts = [Packet(fragment=part, ports=(part, part), protocol=UDP) for part in (0x2000, 0x2010, 0x0020)]
    assert len({id(flow(table, part)) for part in parts}) == 1
    assert not table.known


def test_what_is_no_packet_is_one_flow() -> None:
    table = FlowTable()
    assert len({id(table.flow(data, 0)) for data in (b"", b"\x45", b"\x60" + bytes(12), b"\x10" * 60)}) == 1


def test_the_least_recently_used_go() -> None:
    table = FlowTable(100)
    packets = [Packet(ports=(1 + number, 443)) for number in range(1000)]
    kept = flow(table, packets[0])
    for packet in packets[1:]:
        flow(table, packet)
        if table.made - kept.used > table.patience:
            table.remember(kept)
    assert len(table) == 100
    assert len(table.known) == 100
    assert flow(table, packets[0]) is kept
    made = table.made
    flow(table, packets[-70])
    assert table.made == made
    flow(table, packets[500])
    assert table.made == made + 1


def test_flows_without_a_key_are_remembered_by_use() -> None:
    table = FlowTable(100)
    kept = flow(table, Packet(protocol=1))
    for number in range(1000):
        flow(table, Packet(ports=(1 + number, 443)))
        assert flow(table, Packet(protocol=1)) is kept


def test_a_flow_that_went_is_not_brought_back() -> None:
    table = FlowTable(10)
    gone = flow(table, Packet())
    for number in range(10):
        flow(table, Packet(ports=(number, 1)))
    table.remember(gone)
    assert len(table) == 10
    assert flow(table, Packet()) is not gone


def test_one_conversation_takes_bounded_memory() -> None:
    table = FlowTable(100)
    for tos in range(256):
        for label in range(0, 1 << 20, 1 << 16):
            found = flow(table, replace(V6, tos=tos, flow_label=label))
            table.listen(bytes(replace(V6, tos=tos, flow_label=label)), 0, Ear(found.conversation, 0, table.made))
    assert len(table) == 1
    assert len(table.known) <= 32
    assert len(table.ears) <= 32
    assert len(found.conversation.flows) <= 8


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.sampled_from([0, 1, 4, 0xB8])), max_size=120))
def test_the_table_holds_together(packets: list[tuple[int, bool, int]]) -> None:
    table = FlowTable(10)
    for port, heard, tos in packets:
        data = bytes(Packet(ports=(1 + port, 443), tos=tos))
        if heard:
            table.listen(data, 0, Ear(flow(table, Packet(ports=(1 + port, 443), tos=tos)).conversation, 0, table.made))
        else:
            found = table.known.get(quick_key(data, 0)) or table.flow(data, 0)
            assert found.fields.ports[:2] == (1 + port).to_bytes(2, "big")
            assert found.fields.dscp == tos >> 2
    conversations = list(table._conversations.values())
    assert len(conversations) <= 10
    assert sorted(table.known) == sorted(each for one in conversations for each in one.keys)
    assert sorted(table.ears) == sorted(each for one in conversations for each in one.ears)
    assert all(found.conversation in conversations for found in table.known.values())


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    table = FlowTable(10)
    table.flow(data, 0)
    assert (key(data, 0) is None) == (not table.known)


def test_packets_that_have_no_key() -> None:
    packets = [Packet(protocol=UDP, ip_options=bytes(4)), replace(V6, extension=PADDING), Packet(fragment=0x2000)]
    assert [key(bytes(packet), 0) for packet in packets] == [None] * 3
    assert key(bytes(Packet(protocol=TCP)), 0) is not None
