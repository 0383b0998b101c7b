# SPDX-License-Identifier: GPL-3.0-or-later
"""Which class a packet is of."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mpquic.core.multipath.classifier import Classifier
from mpquic.core.multipath.fields import Fields, fields
from mpquic.core.multipath.policy import Policy, Rule, TrafficClass
from packets import TCP, UDP, Packet

CLASSES = tuple(TrafficClass(name, "priority") for name in ("default", "critical", "bulk", "other"))
ICMP = 1


def classes_of(rules: tuple[Rule, ...], *packets: Packet, turned: bool = False) -> list[int]:
    classifier = Classifier(Policy(1, (), CLASSES, 3, rules), turned=turned)
    found = []
    for packet in packets:
        parsed = fields(bytes(packet), 0)
        assert parsed is not None
        found.append(classifier.classify(parsed))
    return found


def test_without_rules_there_is_the_default() -> None:
    assert classes_of((), Packet()) == [3]


@pytest.mark.parametrize(
    ("rule", "hits", "misses"),
    [
        (Rule(1, protocols=frozenset({UDP, ICMP})), [Packet(protocol=UDP)], [Packet(protocol=TCP)]),
        (Rule(1, dscps=frozenset({46, 0})), [Packet(tos=0xB8), Packet(tos=3)], [Packet(tos=0x20)]),
        (
            Rule(1, sources=(ip_network("10.81.0.0/23"), ip_network("fd81:1::/32"))),
            [Packet(), Packet(source="fd81:1::2", target="fd99::1")],
            [Packet(source="10.81.2.1"), Packet(source="fd82::1", target="fd99::1")],
        ),
        (Rule(1, sources=(ip_network("0.0.0.0/0"),)), [Packet()], [Packet(source="fd81:1::2", target="fd99::1")]),
        (Rule(1, destinations=(ip_network("10.81.2.2/32"),)), [Packet()], [Packet(target="10.81.2.3")]),
        (
            Rule(1, destination_ports=((443, 443), (8000, 8010))),
            [Packet(), Packet(ports=(1, 8000)), Packet(ports=(1, 8010))],
            [Packet(ports=(443, 80)), Packet(ports=(1, 7999)), Packet(ports=(1, 8011))],
        ),
        (Rule(1, source_ports=((1, 1023),)), [Packet(ports=(1023, 443))], [Packet(ports=(1024, 443))]),
        (Rule(1, destination_ports=((1, 65535),)), [Packet()], [Packet(fragment=0x2000)]),
    ],
)
def test_one_field(rule: Rule, hits: list[Packet], misses: list[Packet]) -> None:
    assert classes_of((rule,), *hits, *misses) == [1] * len(hits) + [3] * len(misses)


def test_all_fields_must_match() -> None:
    rule = Rule(1, frozenset({UDP}), (ip_network("10.81.1.0/24"),), (), (), ((5060, 5060),), frozenset({46}))
    right = Packet(protocol=UDP, ports=(1, 5060), tos=46 << 2)
    wrong = [
        replace(right, protocol=TCP),
        replace(right, source="10.81.9.1"),
        replace(right, ports=(1, 5061)),
        replace(right, tos=0),
    ]
    assert classes_of((rule,), right, *wrong) == [1, 3, 3, 3, 3]


def test_the_first_match_counts() -> None:
    rules = (Rule(1, destination_ports=((443, 443),)), Rule(2, protocols=frozenset({TCP})), Rule(0))
    assert classes_of(rules, Packet(), Packet(ports=(1, 80)), Packet(protocol=UDP, ports=(1, 80))) == [1, 2, 0]


def test_the_server_matches_what_the_client_would() -> None:
    rule = Rule(
        1,
        sources=(ip_network("10.81.1.0/24"),),
        destinations=(ip_network("10.81.2.0/24"),),
        source_ports=((40000, 40000),),
        destination_ports=((443, 443),),
    )
    answer = Packet(source="10.81.2.2", target="10.81.1.2", ports=(443, 40000))
    assert classes_of((rule,), Packet(), answer) == [1, 3]
    assert classes_of((rule,), Packet(), answer, turned=True) == [3, 1]


NETWORKS = [ip_network(text) for text in ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "fd00::/8", "::/0")]
ADDRESSES = [ip_address(text) for text in ("10.1.2.3", "10.1.9.9", "192.0.2.1", "fd00::1", "2001:db8::1")]
RANGES = st.lists(st.sampled_from([(1, 1023), (443, 443), (1024, 65535), (5060, 5061)]), max_size=2).map(tuple)
RULES = st.builds(
    Rule,
    st.integers(0, 3),
    st.frozensets(st.sampled_from([ICMP, TCP, UDP]), max_size=2),
    st.lists(st.sampled_from(NETWORKS), max_size=2).map(tuple),
    st.lists(st.sampled_from(NETWORKS), max_size=2).map(tuple),
    RANGES,
    RANGES,
    st.frozensets(st.sampled_from([0, 10, 46]), max_size=2),
)


@given(
    st.lists(RULES, max_size=6),
    st.sampled_from([0, 10, 46]),
    st.sampled_from([ICMP, TCP, UDP]),
    st.sampled_from(ADDRESSES),
    st.sampled_from(ADDRESSES),
    st.sampled_from([(443, 5060), (80, 443), (5061, 50000), None]),
)
def test_as_the_rules_read(rules, dscp, protocol, source, destination, ports) -> None:
    assume(source.version == destination.version)

    def holds(rule: Rule) -> bool:
        return (
            (not rule.protocols or protocol in rule.protocols)
            and (not rule.dscps or dscp in rule.dscps)
            and (not rule.sources or any(source in each for each in rule.sources))
            and (not rule.destinations or any(destination in each for each in rule.destinations))
            and all(
                not ranges or (ports is not None and any(low <= ports[place] <= high for low, high in ranges))
                for place, ranges in enumerate((rule.source_ports, rule.destination_ports))
            )
        )

    expected = next((rule.target for rule in rules if holds(rule)), 3)
    seen = b"" if ports is None else b"".join(port.to_bytes(2, "big") for port in ports)
    classifier = Classifier(Policy(1, (), CLASSES, 3, tuple(rules)), turned=False)
    packet = Fields(dscp, protocol, source.packed, destination.packed, seen)
    # The second time it comes from what is remembered.
    assert [classifier.classify(packet), classifier.classify(packet)] == [expected] * 2
