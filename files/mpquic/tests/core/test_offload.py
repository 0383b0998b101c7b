# SPDX-License-Identifier: GPL-3.0-or-later
"""Cutting and merging against a model of its own, and against each other, for packets of every kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpquic.core.gate import OPEN
from mpquic.core.offload import BareCodec, VnetCodec, checksum
from packets import ACK, CWR, FIN, PADDING, PSH, RST, SYN, TCP, TIMESTAMPS, UDP, URG, Packet, complete, words

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CODEC = VnetCodec(udp=True)


def edges(top: int) -> st.SearchStrategy[int]:
    """Numbers from 0 to top, often close to where a counter runs over."""
    return st.one_of(st.integers(0, top), st.integers(top - 20, top), st.integers(0, 20))


def words_of(top: int) -> st.SearchStrategy[bytes]:
    return st.integers(0, top).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))


@st.composite
def headers(draw: st.DrawFn, flags: st.SearchStrategy[int] | None = None) -> Packet:
    protocol = draw(st.sampled_from([TCP, TCP, UDP]))
    packet = Packet(
        protocol=protocol,
        tos=draw(st.integers(0, 255)),
        ttl=draw(st.integers(1, 255)),
        ports=(draw(st.integers(0, 65535)), draw(st.integers(0, 65535))),
    )
    if draw(st.booleans()):
        packet = replace(packet, source="fd81:1::2", target="fd81:2::2", flow_label=draw(st.integers(0, 0xFFFFF)))
    else:
        packet = replace(
            packet,
            ident=draw(edges(65535)),
            fragment=draw(st.sampled_from([0, 0x4000])),
            ip_options=draw(st.one_of(st.just(b""), words_of(10))),
        )
    if protocol == TCP:
        packet = replace(
            packet,
            sequence=draw(edges(2**32 - 1)),
            acknowledged=draw(st.integers(0, 2**32 - 1)),
            flags=draw(st.integers(0, 255) if flags is None else flags),
            window=draw(st.integers(0, 65535)),
            urgent=draw(st.integers(0, 65535)),
            tcp_options=draw(st.one_of(st.just(b""), st.just(TIMESTAMPS), words_of(10))),
        )
    return packet


@st.composite
def giants(draw: st.DrawFn, flags: st.SearchStrategy[int] | None = None) -> tuple[Packet, int]:
    """Packets of many segments, and the size of these."""
    step = draw(st.sampled_from([1, 2, 3, 536, 1236, 1399]))
    count = draw(st.integers(1, 46))
    size = step * count + draw(st.integers(1, step))
    packet = draw(headers(flags))
    return replace(packet, body=bytes(number % 251 for number in range(min(size, 65535 - packet.headers)))), step


def cut(reads: Sequence[bytes]) -> list[bytes]:
    drops: Counter[str] = Counter()
    payloads = CODEC.ingress(reads, drops)
    assert not drops
    return payloads


def merged(payloads: Sequence[bytes], codec: VnetCodec = CODEC) -> list[bytes]:
    """Return the writes for payloads that are all good."""
    drops: Counter[str] = Counter()
    frames, packets, octets = codec.egress(payloads, drops, OPEN)
    assert not drops
    assert packets == len(payloads)
    assert octets == sum(map(len, payloads)) - packets
    assert all(len(frame) <= 1024 for frame in frames)
    writes = [b"".join(frame) for frame in frames]
    assert all(len(write) <= 65535 + 10 for write in writes)
    return writes


@SLOW
@given(giants())
def test_segments_are_what_the_standards_say(giant: tuple[Packet, int]) -> None:
    packet, step = giant
    expected = [b"\x06" + bytes(segment) for segment in packet.segments(step)]
    assert cut([packet.read(step)]) == expected
    # A kernel that has already seen the checksum of the whole leaves the field alone.
    seen = replace(packet, pseudo=0x1234).read(step)
    assert cut([b"\x02" + seen[1:6] + bytes(4) + seen[10:]]) == expected


@SLOW
@given(giants(st.sampled_from([ACK, ACK | PSH])))
def test_merging_undoes_cutting(giant: tuple[Packet, int]) -> None:
    packet, step = giant
    payloads = cut([packet.read(step)])
    writes = merged(payloads)
    assert cut(writes) == payloads
    # The identification, the header checksum and the sequence number may each run over once, which ends a run.
    assert len(writes) <= 4
    if len(writes) == 1:
        assert writes == [packet.read(step)]


def test_counters_run_over_at_every_place() -> None:
    """Identification, header checksum and sequence number, on both sides of the end of their range."""
    step, count = 100, 8
    giant = Packet(body=bytes(step * count))
    # The first segment's checksum is so much: the identification is in it.
    first = int.from_bytes(bytes(replace(giant, body=bytes(step), ident=0))[10:12])
    cases = [replace(giant, ident=ident) for ident in range(0xFFFF - count - 2, 0x10000)]
    cases += [replace(giant, ident=first - left) for left in range(count + 3)]
    cases += [replace(giant, sequence=2**32 - left) for left in range(1, step * count + 200)]
    for packet in cases:
        expected = [b"\x06" + bytes(segment) for segment in packet.segments(step)]
        assert cut([packet.read(step)]) == expected
        writes = merged(expected)
        assert cut(writes) == expected
        assert len(writes) <= 2


def test_a_carry_is_no_neighbour() -> None:
    """What adding to the whole head would make of a counter at its end is another flow, or nothing."""
    step = 1000
    last = Packet(body=bytes(step), sequence=2**32 - step)
    carried = replace(last, ident=2, sequence=0, ports=(40000, 444))
    assert merged([b"\x06" + bytes(last), b"\x06" + bytes(carried)]) == [last.read(), carried.read()]
    first = int.from_bytes(bytes(replace(last, ident=0))[10:12])
    empty = replace(last, ident=first, sequence=1)
    assert bytes(empty)[10:12] == b"\x00\x00"
    borrowed = bytearray(b"\x06" + bytes(replace(empty, ident=first + 1, sequence=1 + step)))
    borrowed[10:13] = b"\x05\xff\xff"
    drops: Counter[str] = Counter()
    frames, _packets, _octets = CODEC.egress([b"\x06" + bytes(empty), bytes(borrowed)], drops, OPEN)
    assert [b"".join(frame) for frame in frames] == [empty.read()]
    assert drops == {"partial": 1}


def test_one_giant_is_one_write() -> None:
    for packet in (Packet(tcp_options=TIMESTAMPS), Packet(protocol=UDP), Packet(source="::1", target="::2")):
        whole = replace(packet, body=bytes(40000)).read(1236)
        assert merged(cut([whole])) == [whole]


def test_it_is_told_where_the_packets_of_each_read_end() -> None:
    lone, giant = Packet(body=b"one").read(), replace(Packet(), body=bytes(3000)).read(1236)
    ends: list[int] = []
    drops: Counter[str] = Counter()
    assert len(CODEC.ingress([lone, giant, b"", lone], drops, ends)) == 5
    assert (ends, drops.total()) == ([1, 4, 4, 5], 1)
    ends.clear()
    packet = bytes(Packet())
    assert len(BareCodec().ingress([packet, packet[:9], packet], drops, ends)) == 2
    assert (ends, drops.total()) == ([1, 1, 2], 2)


@st.composite
def traffic(draw: st.DrawFn) -> list[bytes]:
    """Payloads of a few flows, interleaved, with holes, and with packets that are merged with nothing."""
    flows = []
    for number in range(draw(st.integers(1, 3))):
        flags = st.sampled_from([ACK, ACK, ACK | PSH, ACK | FIN, ACK | CWR, ACK | URG, SYN, RST])
        queue: list[bytes] = []
        for _burst in range(draw(st.integers(1, 3))):
            packet, step = draw(giants(flags))
            packet = replace(packet, ports=(number, 80))
            queue += [b"\x06" + bytes(segment) for segment in packet.segments(step)]
            for at in draw(st.lists(st.integers(0, len(queue)), max_size=3)):
                queue.insert(at, draw(st.sampled_from([b"\x00" + packet.complete(), b"\x06" + bytes(packet)])))
        keep = draw(st.lists(st.integers(0, len(queue) - 1), max_size=4))
        flows.append([payload for at, payload in enumerate(queue) if at not in keep])
    order = draw(st.permutations([number for number, flow in enumerate(flows) for _ in flow][:200]))
    if draw(st.booleans()):
        order = sorted(order)
    taken = [iter(flow) for flow in flows]
    return [next(taken[number]) for number in order]


def by_flow(payloads: Sequence[bytes]) -> dict[bytes, list[bytes]]:
    flows = defaultdict(list)
    for payload in payloads:
        v4 = payload[1] >> 4 == 4
        at = 1 + (payload[1] & 15) * 4 if v4 else 41
        flows[payload[13:21] if v4 else payload[9:41], payload[at : at + 4]].append(payload)
    return dict(flows)


@SLOW
@given(traffic())
def test_flows_keep_their_order_and_every_byte(payloads: list[bytes]) -> None:
    assert by_flow(cut(merged(payloads))) == by_flow(payloads)
    assert by_flow(cut(merged(payloads, VnetCodec(udp=False)))) == by_flow(payloads)


@pytest.mark.parametrize("packet", [Packet(), Packet(source="::1", target="::2"), Packet(ip_options=bytes(4))])
def test_interleaved_flows_merge_all_the_same(packet: Packet) -> None:
    flows = [replace(packet, ports=(number, 80), body=bytes(20000), sequence=number) for number in range(3)]
    together = zip(*[cut([flow.read(1000)]) for flow in flows], strict=True)
    assert merged([payload for group in together for payload in group]) == [flow.read(1000) for flow in flows]


FIRST = Packet(body=bytes(1000), tcp_options=TIMESTAMPS)
SECOND = replace(FIRST, ident=2, sequence=1001)


@pytest.mark.parametrize(
    "second",
    [
        replace(SECOND, sequence=1002),
        replace(SECOND, sequence=1000),
        replace(SECOND, ident=3),
        replace(SECOND, ident=1),
        replace(SECOND, tos=1),
        replace(SECOND, ttl=63),
        replace(SECOND, fragment=0),
        replace(SECOND, window=502),
        replace(SECOND, acknowledged=100),
        replace(SECOND, urgent=1),
        replace(SECOND, ports=(40001, 443)),
        replace(SECOND, ports=(40000, 444)),
        replace(SECOND, source="10.81.1.3"),
        replace(SECOND, target="10.81.2.3"),
        replace(SECOND, tcp_options=TIMESTAMPS[:-1] + b"\x00"),
        replace(SECOND, tcp_options=b""),
        replace(SECOND, ip_options=bytes(4)),
        replace(SECOND, body=bytes(1001)),
        replace(SECOND, body=b""),
        replace(SECOND, pseudo=0x1234),
        *[replace(SECOND, flags=ACK | flag) for flag in (FIN, SYN, RST, URG, CWR, 0x40)],
        replace(SECOND, flags=PSH),
    ],
)
def test_what_differs_is_not_merged(second: Packet) -> None:
    payloads = [b"\x06" + bytes(packet) for packet in (FIRST, second)]
    assert len(merged([payloads[0], b"\x06" + bytes(SECOND)])) == 1
    assert merged(payloads) == [FIRST.read(), second.read()]


def test_wrong_checksums_stay_wrong() -> None:
    for wrong in (replace(FIRST, pseudo=0x1234), replace(FIRST, protocol=UDP, pseudo=0)):
        pair = [wrong, replace(wrong, ident=2, sequence=1001)]
        assert merged([b"\x06" + bytes(packet) for packet in pair]) == [packet.read() for packet in pair]
    payloads = [bytearray(b"\x06" + bytes(packet)) for packet in (FIRST, SECOND)]
    for payload in payloads:
        payload[11] ^= 1
    assert [write[10:] for write in merged([bytes(payload) for payload in payloads])] == [
        bytes(payload[1:]) for payload in payloads
    ]


def test_a_push_ends_a_run() -> None:
    parts = [replace(FIRST, ident=1 + n, sequence=1 + 1000 * n, flags=ACK | PSH * (n in {0, 3})) for n in range(6)]
    writes = merged([b"\x06" + bytes(part) for part in parts])
    assert [len(cut([write])) for write in writes] == [1, 3, 2]
    assert cut(writes) == [b"\x06" + bytes(part) for part in parts]


@pytest.mark.parametrize("flows", [1, 2])
def test_wrong_lengths_are_refused_within_a_run(flows: int) -> None:
    parts = [
        b"\x06" + bytes(replace(FIRST, ident=1 + n, sequence=1 + 1000 * n, ports=(flow, 80)))
        for n in range(4)
        for flow in range(flows)
    ]
    for wrong in (parts[-1] + b"x", parts[-1][:-1]):
        drops: Counter[str] = Counter()
        frames, packets, octets = CODEC.egress([*parts[:-1], wrong], drops, OPEN)
        assert drops == {"partial": 1}
        assert packets == len(parts) - 1
        assert octets == packets * len(bytes(FIRST))
        assert sorted(cut([b"".join(frame) for frame in frames])) == sorted(parts[:-1])


def test_nothing_overtakes_within_a_flow() -> None:
    third = replace(FIRST, ident=3, sequence=2001)
    later = replace(FIRST, ident=4, sequence=3001)
    parts = [b"\x06" + bytes(packet) for packet in (FIRST, SECOND, third, later)]
    other = Packet(source="fd81::1", target="fd81::2", protocol=UDP, body=b"x")
    for between, writes in [
        (b"\x00" + replace(FIRST, body=b"").complete(), 3),
        (b"\x06" + bytes(replace(FIRST, body=b"")), 3),
        # A fragment may be of any flow, and so may what stands behind an extension header; another flow may not.
        (b"\x00" + bytes(replace(FIRST, ports=(1, 2), fragment=0x2000)), 3),
        (b"\x00" + bytes(replace(FIRST, ports=(1, 2), protocol=UDP, fragment=0x0001)), 3),
        (b"\x00" + bytes(replace(FIRST, ports=(1, 2), protocol=UDP, fragment=0x0100)), 3),
        (b"\x00" + bytes(replace(FIRST, ports=(1, 2), protocol=50, fragment=0x2000)), 2),
        (b"\x00" + replace(other, extension=PADDING).complete(), 3),
        (b"\x00" + other.complete(), 2),
        (b"\x00" + replace(FIRST, ports=(1, 2)).complete(), 2),
        (b"\x06" + bytes(replace(FIRST, ports=(1, 2))), 2),
    ]:
        written = merged([*parts[:2], between, *parts[2:]])
        assert len(written) == writes
        if writes == 3:
            assert cut(written) == [*parts[:2], between, *parts[2:]]


def test_a_device_without_uso_gets_datagrams_one_by_one() -> None:
    packet = Packet(protocol=UDP, body=bytes(5000))
    payloads = cut([packet.read(1000)])
    assert len(merged(payloads)) == 1
    assert merged(payloads, VnetCodec(udp=False)) == [segment.read() for segment in packet.segments(1000)]


def test_limits_of_a_write() -> None:
    assert [len(cut([write])) for write in merged(cut([Packet(body=bytes(2500)).read(1)]))] == [1000, 1000, 500]
    datagrams = Packet(protocol=UDP, body=bytes(150 * 100))
    assert [len(cut([write])) for write in merged(cut([datagrams.read(100)]))] == [64, 64, 22]
    flows = [cut([Packet(body=bytes(1500), ports=(flow, 80)).read(1)]) for flow in range(2)]
    mixed = merged([payload for pair in zip(*flows, strict=True) for payload in pair])
    assert [len(cut([write])) for write in mixed] == [1000, 1000, 500, 500]
    edge = Packet(body=bytes(32760))
    assert len(merged([b"\x06" + bytes(replace(edge, ident=n, sequence=n * 32760)) for n in range(2)])) == 2
    big = Packet(body=bytes(32000))
    both = [b"\x06" + bytes(replace(big, ident=1 + n, sequence=1 + n * 32000)) for n in range(3)]
    assert [len(cut([write])) for write in merged(both)] == [2, 1]
    whole = [b"\x06" + bytes(replace(big, body=bytes(40000), ident=1 + n, sequence=1 + n * 40000)) for n in range(2)]
    assert len(merged(whole)) == 2


def test_a_device_without_offload_gets_complete_packets() -> None:
    packets = [
        replace(shape, body=bytes([size & 0xFF]) * size, ident=size)
        for size in (0, 1, 2, 1399)
        for shape in (Packet(), Packet(protocol=UDP), Packet(source="::1", target="::2", tcp_options=TIMESTAMPS))
    ]
    drops: Counter[str] = Counter()
    frames, count, octets = BareCodec().egress([b"\x06" + bytes(packet) for packet in packets], drops, OPEN)
    assert [b"".join(frame) for frame in frames] == [packet.complete() for packet in packets]
    assert (count, octets) == (len(packets), sum(len(bytes(packet)) for packet in packets))
    assert not drops


def test_a_checksum_of_nothing_is_not_no_checksum() -> None:
    # RFC 768: a sum that comes out as 0 is sent as all ones.
    zero = Packet(protocol=UDP, body=b"ab")
    zero = replace(zero, body=words(b"ab" + zero.complete()[26:28]).to_bytes(2))
    drops: Counter[str] = Counter()
    ((packet,),), _packets, _octets = BareCodec().egress([b"\x06" + bytes(zero)], drops, OPEN)
    assert packet[26:28] == b"\xff\xff"
    assert packet == complete(bytes(zero), 20, 6)


def refused_by(codec: BareCodec | VnetCodec, payload: bytes) -> dict[str, int]:
    drops: Counter[str] = Counter()
    assert codec.egress([payload], drops, OPEN) == ([], 0, 0)
    return dict(drops)


@pytest.mark.parametrize("codec", [BareCodec(), CODEC], ids=["bare", "vnet"])
def test_bad_payloads_are_counted_by_reason(codec: BareCodec | VnetCodec) -> None:
    good = Packet(body=b"body")
    for payload, reason in [
        (b"", "malformed"),
        (b"\x40", "malformed"),
        (b"\x02" + good.complete(), "context"),
        (b"\x00" + good.complete() + b"x", "inner_length"),
        (b"\x00" + good.complete()[:15], "inner_short"),
        (b"\x00\x55" + good.complete()[1:], "inner_version"),
        (b"\x06", "partial"),
        (b"\x06" + bytes(good)[:-1], "partial"),
        (b"\x06" + bytes(good) + b"x", "partial"),
        (b"\x06" + bytes(good)[:33], "partial"),
        (b"\x06" + bytes(replace(good, protocol=UDP, fragment=0x2000)), "partial"),
        (b"\x06" + bytes(replace(good, protocol=1)), "partial"),
        (b"\x06" + bytes(Packet(source="::1", target="::2", extension=PADDING)), "partial"),
        (b"\x06" + bytes(good)[:32] + b"\xf0" + bytes(good)[33:], "partial"),
        (b"\x06" + bytes(good)[:32] + b"\x40" + bytes(good)[33:], "partial"),
    ]:
        assert refused_by(codec, payload) == {reason: 1}, payload
    drops: Counter[str] = Counter()
    long = [b"\x40\x00" + good.complete(), b"\x80\x00\x00\x06" + bytes(good)]
    frames, packets, octets = codec.egress(long, drops, OPEN)
    assert (len(frames), packets, octets, dict(drops)) == (2, 2, 2 * len(bytes(good)), {})
    assert frames == codec.egress([b"\x00" + good.complete(), b"\x06" + bytes(good)], drops, OPEN)[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({0: b""}, "vnet_short"),
        ({1: b"\x02"}, "vnet_type"),
        ({1: b"\x03"}, "vnet_type"),
        ({1: b"\x04"}, "vnet_type"),
        ({1: b"\x05"}, "vnet_type"),
        ({4: b"\x00\x00"}, "vnet_size"),
        ({6: b"\x15"}, "vnet_offset"),
        ({8: b"\x06"}, "vnet_offset"),
        ({10: b"\x50"}, "inner_version"),
        ({12: b"\x00"}, "inner_length"),
        ({19: b"\x11"}, "vnet_type"),
        ({16: b"\x20"}, "vnet_type"),
        ({42: b"\x40"}, "vnet_type"),
    ],
)
def test_bad_reads_are_counted_by_reason(change: dict[int, bytes], reason: str) -> None:
    read = Packet(body=bytes(3000)).read(1000)
    for at, data in change.items():
        read = read[:at] + data + read[at + len(data) :] if data else read[:9]
    drops: Counter[str] = Counter()
    assert CODEC.ingress([read], drops) == []
    assert drops == {reason: 1}


def test_a_checksum_outside_of_its_packet_is_refused() -> None:
    read = bytearray(Packet(protocol=132, body=bytes(30)).read())
    for offset in (35, 36):
        read[6:10] = b"\x14\x00" + offset.to_bytes(2, "little")
        ((packet,),) = [cut([bytes(read)])]
        assert packet == b"\x00" + complete(bytes(read[10:]), 20, offset)
    for start, offset in [(0, 16), (19, 6), (20, 37), (60, 0), (65535, 65535)]:
        read[6:10] = start.to_bytes(2, "little") + offset.to_bytes(2, "little")
        drops: Counter[str] = Counter()
        assert CODEC.ingress([bytes(read)], drops) == []
        assert drops == {"vnet_offset": 1}


@st.composite
def mutated(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    data = bytearray(draw(whole))
    for at, value in draw(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=4)):
        if at < len(data):
            data[at] = value
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


@SLOW
@given(st.lists(st.one_of(st.binary(max_size=80), mutated(giants().map(lambda giant: giant[0].read(giant[1]))))))
def test_no_read_raises(reads: list[bytes]) -> None:
    drops: Counter[str] = Counter()
    payloads = CODEC.ingress(reads, drops)
    BareCodec().ingress(reads, drops)
    frames, packets, _octets = CODEC.egress(payloads, drops, OPEN)
    assert len(frames) <= packets <= len(payloads)


@SLOW
@given(traffic().flatmap(lambda payloads: st.lists(mutated(st.sampled_from(payloads or [b""])), max_size=40)))
def test_no_payload_raises(payloads: list[bytes]) -> None:
    for codec in (CODEC, BareCodec()):
        drops: Counter[str] = Counter()
        frames, packets, octets = codec.egress(payloads, drops, OPEN)
        assert packets + drops.total() == len(payloads)
        if codec is CODEC:
            again = cut([b"".join(frame) for frame in frames])
            assert len(again) == packets
            assert sum(map(len, again)) == octets + packets
            assert Counter(again) <= Counter(payloads) or any(payload[:1] > b"\x3f" for payload in payloads)


def test_sums_have_one_form() -> None:
    assert [checksum.add(total, change) for total, change in [(65535, 0), (1, -1), (65534, 1), (65535, 1)]] == [
        *[65535] * 3,
        1,
    ]
    header = bytes(Packet())[:20]
    assert checksum.right(header, 10)
    full = replace(Packet(), ident=int.from_bytes(bytes(replace(Packet(), ident=0))[10:12]))
    header = bytes(full)[:20]
    assert header[10:12] == b"\x00\x00"
    assert checksum.right(header, 10)
    # The same sum in another form would not come back when the packet is cut again.
    assert not checksum.right(header[:10] + b"\xff\xff" + header[12:], 10)
