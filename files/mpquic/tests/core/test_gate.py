# SPDX-License-Identifier: GPL-3.0-or-later
"""Which inner packets pass: martians, who owns what, and the same verdict in every codec."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpquic.core import gate
from mpquic.core.gate import OPEN, Gate, from_peer, from_server, martian, towards_server
from mpquic.core.offload import BareCodec, VnetCodec
from mpquic.core.offload.legacy import LegacyCodec
from mpquic.core.prefixes import PrefixTable
from packets import ACK, PSH, TCP, UDP, Packet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.offload import Codec

SLOW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: RFC 6890 and RFC 4291: what no packet between hosts comes from.
MARTIANS = [
    *map(ip_network, ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"]),
    *map(ip_network, ["::/127", "::ffff:0:0/96", "ff00::/8"]),
]


def raw(address: str) -> bytes:
    return ip_address(address).packed


def near(edge: bytes) -> st.SearchStrategy[bytes]:
    """Addresses that have the first or last bits of this one."""
    size = len(edge)
    number = int.from_bytes(edge, "big")
    close = st.integers(-3, 3).map(lambda step: ((number + step) % (1 << 8 * size)).to_bytes(size, "big"))
    return st.one_of(
        close,
        st.tuples(st.integers(1, size), st.binary(min_size=size, max_size=size)).map(
            lambda drawn: edge[: drawn[0]] + drawn[1][drawn[0] :]
        ),
    )


EDGES = [address.packed for network in MARTIANS for address in (network.network_address, network.broadcast_address)]
addresses = st.one_of(
    st.sampled_from(EDGES).flatmap(near), st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
)


@given(addresses)
def test_martians(address: bytes) -> None:
    assert martian(address) == any(ip_address(address) in network for network in MARTIANS)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::2", False),
        ("::ff", False),
        ("::100", False),
        ("::1:0:0:1", False),
        ("0:0:0:1::1", False),
        ("1::1", False),
        ("::fffe:a00:1", False),
        ("::ffff:a00:1", True),
        ("::1:ffff:a00:1", False),
        ("::1:0:0", False),
        ("feff::1", False),
        ("ff00::", True),
        ("126.255.255.255", False),
        ("128.0.0.0", False),
        ("1.0.0.0", False),
        ("223.255.255.255", False),
    ],
)
def test_neighbours_of_martians(address: str, *, expected: bool) -> None:
    assert martian(raw(address)) is expected


@given(addresses)
def test_martians_of_the_standard_library(address: bytes) -> None:
    where = ip_address(address)
    mapped = where.version == 6 and where.ipv4_mapped is not None  # type: ignore[union-attr]
    if where.is_loopback or where.is_multicast or where.is_unspecified or mapped:
        assert martian(address)
    elif where.is_global:
        assert not martian(address)


MINE, YOURS, OWN = object(), object(), {raw("10.200.1.2"), raw("fd00:1::fe")}
TABLE = PrefixTable(
    [
        *[(ip_network(prefix), MINE) for prefix in ("10.200.1.1/32", "172.16.1.0/30", "fd00:1::/64")],
        *[(ip_network(prefix), YOURS) for prefix in ("10.200.1.5/32", "172.16.1.4/30", "fd00:2::/64")],
    ]
)


@pytest.mark.parametrize(
    ("source", "destination", "fault"),
    [
        ("10.200.1.1", "203.0.113.1", ""),
        ("172.16.1.3", "203.0.113.1", ""),
        ("fd00:1::9", "2001:db8::1", ""),
        # To another peer of the same server.
        ("10.200.1.1", "10.200.1.5", ""),
        ("10.200.1.1", "10.200.1.2", ""),
        ("10.200.1.5", "203.0.113.1", "source"),
        ("172.16.1.4", "203.0.113.1", "source"),
        ("fd00:2::9", "2001:db8::1", "source"),
        ("203.0.113.9", "203.0.113.1", "source"),
        ("2001:db8::9", "2001:db8::1", "source"),
        # The server's own address.
        ("10.200.1.2", "203.0.113.1", "martian"),
        ("fd00:1::fe", "2001:db8::1", "martian"),
        *[(source, "203.0.113.1", "martian") for source in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255")],
        *[("10.200.1.1", to, "martian") for to in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255")],
        *[(source, "2001:db8::1", "martian") for source in ("::", "::1", "ff02::1", "::ffff:10.200.1.1")],
        *[("fd00:1::9", to, "martian") for to in ("::", "::1", "ff02::1", "::ffff:10.200.1.1")],
    ],
)
def test_a_server_holds_a_peer_to_its_prefixes(source: str, destination: str, fault: str) -> None:
    assert from_peer(MINE, TABLE, OWN)._judge(raw(source), raw(destination)) == fault
    own = PrefixTable([(ip_network(prefix), True) for prefix in ("10.200.1.1/32", "172.16.1.0/30", "fd00:1::/64")])
    mine = any(ip_address(source) in ip_network(prefix) for prefix in ("10.200.1.1/32", "172.16.1.0/30", "fd00:1::/64"))
    assert towards_server(own)._judge(raw(source), raw(destination)) == ("" if mine else "source")


def test_an_owner_is_one_object_and_not_its_equal() -> None:
    first, second = [1], [1]
    table: PrefixTable[object] = PrefixTable([(ip_network("10.0.0.0/8"), first), (ip_network("11.0.0.0/8"), second)])
    judge = from_peer(first, table, ())._judge
    assert judge(raw("10.0.0.1"), raw("203.0.113.1")) == ""
    assert judge(raw("11.0.0.1"), raw("203.0.113.1")) == "source"
    # Nobody owns what nobody owns.
    assert from_peer(YOURS, table, ())._judge(raw("12.0.0.1"), raw("203.0.113.1")) == "source"


@pytest.mark.parametrize(
    ("source", "destination", "fault"),
    [
        ("203.0.113.1", "10.200.1.1", ""),
        ("203.0.113.1", "172.16.1.2", ""),
        ("2001:db8::1", "fd00:1::9", ""),
        ("10.200.1.2", "10.200.1.1", ""),
        # What comes back from the server as if from here.
        ("10.200.1.1", "10.200.1.1", "source"),
        ("172.16.1.2", "10.200.1.1", "source"),
        ("fd00:1::8", "fd00:1::9", "source"),
        ("203.0.113.1", "172.16.1.4", "destination"),
        ("203.0.113.1", "224.0.0.1", "destination"),
        ("2001:db8::1", "fd00:2::9", "destination"),
        ("127.0.0.1", "10.200.1.1", "martian"),
        ("::1", "fd00:1::9", "martian"),
    ],
)
def test_a_client_takes_what_is_for_it(source: str, destination: str, fault: str) -> None:
    own = PrefixTable([(ip_network(prefix), True) for prefix in ("10.200.1.1/32", "172.16.1.0/30", "fd00:1::/64")])
    assert from_server(own)._judge(raw(source), raw(destination)) == fault


class Judge:
    """Refuses odd sources and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes]] = []

    def __call__(self, source: bytes, destination: bytes) -> str:
        self.asked.append((source, destination))
        return "source" if source[-1] % 2 else ""


@pytest.mark.parametrize("at", [0, 1, 10])
@pytest.mark.parametrize(
    "packet",
    [
        Packet(source="10.81.1.2", target="10.81.2.3"),
        Packet(source="10.81.1.2", target="10.81.2.3", ip_options=bytes(40)),
        Packet(source="fd81::2", target="fd81::3", protocol=UDP),
    ],
)
def test_a_judge_is_asked_once_for_a_pair(packet: Packet, at: int) -> None:
    judge = Judge()
    tested = Gate(judge)
    for body in (b"", b"x", b"xy"):
        assert tested.fault(bytes(at) + bytes(replace(packet, body=body)), at) == ""
    pair = (raw(packet.source), raw(packet.target))
    assert judge.asked == [pair]
    # The way back is another pair.
    assert tested.fault(bytes(at) + bytes(replace(packet, source=packet.target, target=packet.source)), at) == "source"
    assert judge.asked == [pair, pair[::-1]]


def test_whoever_walks_through_addresses_fills_no_memory() -> None:
    tested = Gate(Judge())
    for number in range(3 * gate._REMEMBERED):
        packet = b"\x45" + bytes(11) + number.to_bytes(4, "big") + bytes(4)
        assert tested.fault(packet, 0) == ("source" if number % 2 else "")
        assert len(tested._remembered) <= gate._REMEMBERED
    assert tested.fault(b"\x45" + bytes(14) + b"\1" + bytes(4), 0) == "source"


@pytest.mark.parametrize("at", [0, 10])
def test_reads_of_a_tun(at: int) -> None:
    good, bad = (bytes(at) + bytes(Packet(source=source)) for source in ("10.81.1.2", "10.81.1.3"))
    short = bytes(at) + b"\x45" + bytes(18)
    drops: Counter[str] = Counter()
    tested = Gate(Judge())
    reads = [good, short, good]
    assert tested.passing(reads, at, drops) is reads
    assert not drops
    # What is no packet passes: the codec counts it by what is wrong with it.
    assert tested.passing([bad, good, short, b"", bad], at, drops) == [good, short, b""]
    assert drops == {"source": 2}


def test_the_open_gate() -> None:
    for source in ("0.0.0.0", "127.0.0.1", "10.0.0.1"):
        assert OPEN.fault(bytes(Packet(source=source)), 0) == ""


# --- the same verdict in every codec ------------------------------------------------------------------------------


#: Sources of MINE, of others, of nobody, and of no host.
SOURCES_4 = ["10.200.1.1", "172.16.1.1", "172.16.1.2", "10.200.1.5", "172.16.1.5", "203.0.113.9", "127.0.0.1"]
SOURCES_6 = ["fd00:1::1", "fd00:1::2", "fd00:2::1", "2001:db8::9", "::1", "::ffff:10.200.1.1"]
TARGETS = {4: ["203.0.113.1", "203.0.113.1", "224.0.0.1"], 6: ["2001:db8::1", "2001:db8::1", "ff02::1"]}


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    """Payloads of flows that differ in their addresses only, cut into segments, in any order, some of them broken."""
    payloads: list[bytes] = []
    for _flow in range(draw(st.integers(1, 6))):
        version = draw(st.sampled_from([4, 4, 6]))
        packet = Packet(
            source=draw(st.sampled_from(SOURCES_4 if version == 4 else SOURCES_6)),
            target=draw(st.sampled_from(TARGETS[version])),
            protocol=draw(st.sampled_from([TCP, TCP, UDP])),
            body=bytes(draw(st.integers(0, 8)) * 100),
            flags=draw(st.sampled_from([ACK, ACK | PSH])),
        )
        form = draw(st.sampled_from(["open", "open", "open", "complete", "long"]))
        for segment in packet.segments(100):
            if form == "open":
                payloads.append(b"\x06" + bytes(segment))
            elif form == "complete":
                payloads.append(b"\x00" + segment.complete())
            else:
                payloads.append(b"\x80\x00\x00\x06" + bytes(segment))
    order = draw(st.sampled_from(["as they are", "mixed"]))
    if order == "mixed":
        payloads = list(draw(st.permutations(payloads)))
    for at in draw(st.lists(st.integers(0, len(payloads) - 1), max_size=3)):
        place, value = draw(st.tuples(st.integers(0, 40), st.integers(0, 255)))
        payloads[at] = payloads[at][:place] + bytes([value]) + payloads[at][place + 1 :]
    return payloads


def outcome(codec: Codec, payloads: Sequence[bytes], through: Gate) -> tuple[list[bytes], int, int, dict[str, int]]:
    """Return the complete packets that a codec hands to its device, and what it counts."""
    drops: Counter[str] = Counter()
    frames, packets, octets = codec.egress(payloads, drops, through)
    found = [b"".join(frame) for frame in frames]
    if isinstance(codec, VnetCodec):
        again: Counter[str] = Counter()
        found = [b"".join(frame) for frame in BareCodec().egress(codec.ingress(found, again), again, OPEN)[0]]
        assert not again
    return found, packets, octets, dict(drops)


def by_flow(packets: Sequence[bytes]) -> dict[tuple[bytes, int, bytes], list[bytes]]:
    flows = defaultdict(list)
    for packet in packets:
        if packet[0] >> 4 == 4:
            at = (packet[0] & 15) * 4
            flows[packet[12:20], packet[9], packet[at : at + 4]].append(packet)
        else:
            flows[packet[8:40], packet[6], packet[40:44]].append(packet)
    return dict(flows)


@SLOW
@given(batches())
def test_codecs_agree_on_what_passes(payloads: list[bytes]) -> None:
    expected, packets, octets, drops = outcome(BareCodec(), payloads, from_peer(MINE, TABLE, OWN))
    assert packets == len(expected)
    assert packets + sum(drops.values()) == len(payloads)
    # Judged here once more, from the packets alone.
    mine = {raw(source) for source in [*SOURCES_4[:3], *SOURCES_6[:2]]}
    for packet in expected:
        source = packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]
        assert source in mine or TABLE.owner(source) is MINE
        assert not martian(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40])
    for codec in (VnetCodec(udp=True), VnetCodec(udp=False)):
        found, *counts = outcome(codec, payloads, from_peer(MINE, TABLE, OWN))
        assert counts == [packets, octets, drops]
        assert by_flow(found) == by_flow(expected)


@SLOW
@given(batches())
def test_the_legacy_codec_agrees(payloads: list[bytes]) -> None:
    """Its payloads are the complete packets of the others."""
    drops: Counter[str] = Counter()
    bare = [b"".join(frame) for frame in BareCodec().egress(payloads, drops, OPEN)[0]]
    expected = outcome(BareCodec(), [b"\x00" + packet for packet in bare], from_peer(MINE, TABLE, OWN))
    assert outcome(LegacyCodec(BareCodec()), bare, from_peer(MINE, TABLE, OWN)) == expected
    device = VnetCodec(udp=True)
    frames, *counts = LegacyCodec(device).egress(bare, Counter(), from_peer(MINE, TABLE, OWN))
    assert counts == list(expected[1:3])
    assert [b"".join(frame)[10:] for frame in frames] == expected[0]


def test_a_spoofed_segment_in_the_middle_of_a_run() -> None:
    """Everything but the source says that it is the next one."""
    run = Packet(source="172.16.1.1", target="203.0.113.1", body=bytes(600)).segments(100)
    for other, passes in (("172.16.1.5", 0), ("203.0.113.9", 0), ("172.16.1.2", 1)):
        for place in range(1, 6):
            spoofed = replace(run[place], source=other)
            payloads = [b"\x06" + bytes(segment) for segment in [*run[:place], spoofed, *run[place:]]]
            for codec in (VnetCodec(udp=True), BareCodec()):
                found, packets, _octets, drops = outcome(codec, payloads, from_peer(MINE, TABLE, OWN))
                assert packets == len(found) == len(run) + passes
                assert drops == ({} if passes else {"source": 1})


def test_a_gate_stops_whole_flows() -> None:
    """The first segment is refused, and so is what would continue it."""
    payloads = [b"\x06" + bytes(segment) for segment in Packet(source="172.16.1.5", body=bytes(900)).segments(100)]
    for codec in (VnetCodec(udp=True), BareCodec()):
        assert outcome(codec, payloads, from_peer(MINE, TABLE, OWN)) == ([], 0, 0, {"source": 9})


def test_legacy_payloads_are_complete_packets() -> None:
    packets = [Packet(body=b"abc"), Packet(protocol=UDP, body=b"abc"), Packet(source="::1", target="::2", body=b"abc")]
    giant = Packet(body=bytes(3000))
    drops: Counter[str] = Counter()
    codec = LegacyCodec(VnetCodec(udp=True))
    assert codec.header == 10
    found = codec.ingress([*[packet.read() for packet in packets], giant.read(1000)], drops)
    assert found == [packet.complete() for packet in [*packets, *giant.segments(1000)]]
    bare = LegacyCodec(BareCodec())
    assert bare.header == 0
    assert bare.ingress([packet.complete() for packet in packets], drops) == [packet.complete() for packet in packets]
    assert not drops
