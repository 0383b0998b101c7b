# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of a tunnel over several paths as bytes: there and back, cut off, and every field out of its range."""

from __future__ import annotations

import string
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpquic.core.capsules import ProtocolError, encode_varint
from mpquic.core.messages import MAX_POLICY
from mpquic.core.multipath.policy import PathSpec, Policy, Rule, TrafficClass
from mpquic.core.multipath.policy_wire import MAX_NUMBER, MAX_RATE, decode, encode, generation
from test_messages import networks

PLAIN = Policy(1, (PathSpec(1, "wan1", 0, 0, 1, None),), (TrafficClass("default", "priority"),))
names = st.text(string.ascii_letters + string.digits + "._-/", min_size=1, max_size=8)
#: Drawing a policy takes long on a busy machine.
QUICK = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
numbers = st.integers(0, MAX_NUMBER)
octets = st.integers(0, 255)
port_ranges = st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda pair: (min(pair), max(pair)))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    paths = tuple(
        PathSpec(number, name, draw(octets), draw(numbers), draw(st.integers(1, MAX_NUMBER)), draw(rates))
        for number, name in draw(
            st.lists(st.tuples(st.integers(1, 255), names), min_size=1, max_size=3, unique_by=(_first, _second))
        )
    )
    own = st.lists(st.sampled_from([path.number for path in paths]), unique=True, max_size=2).map(tuple)
    classes = tuple(
        TrafficClass(
            name,
            draw(st.sampled_from(["priority", "failover", "balanced"])),
            draw(own),
            draw(own),
            draw(st.integers(1, 3)),
            draw(st.booleans()),
        )
        for name in draw(st.lists(names, min_size=1, max_size=3, unique=True))
    )
    target = st.integers(0, len(classes) - 1)
    some = st.lists(networks(), max_size=2).map(tuple)
    ranges = st.lists(port_ranges, max_size=2).map(tuple)
    protocols, dscps = st.frozensets(octets, max_size=2), st.frozensets(st.integers(0, 63), max_size=2)
    rules = st.builds(Rule, target, protocols, some, some, ranges, ranges, dscps)
    return Policy(draw(numbers), paths, classes, draw(target), tuple(draw(st.lists(rules, max_size=2))))


def _first(pair: tuple[int, str]) -> int:
    return pair[0]


def _second(pair: tuple[int, str]) -> str:
    return pair[1]


rates = st.one_of(st.none(), st.integers(1, MAX_RATE))


@QUICK
@given(policies())
def test_policies_come_back(policy: Policy) -> None:
    assert decode(encode(policy)) == policy
    assert decode(encode(policy) + b"later") == policy


@QUICK
@given(policies())
def test_a_policy_cut_off_anywhere_is_refused(policy: Policy) -> None:
    data = encode(policy)
    for size in range(len(data)):
        with pytest.raises(ProtocolError, match=r"^policy: "):
            decode(data[:size])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_refused(data: bytes) -> None:
    try:
        policy = decode(data)
    except ProtocolError:
        return
    assert decode(encode(policy)) == policy


def _path(**fields: object) -> Policy:
    return replace(PLAIN, paths=(replace(PLAIN.paths[0], **fields),))  # type: ignore[arg-type]


def _class(**fields: object) -> Policy:
    return replace(PLAIN, classes=(replace(PLAIN.classes[0], **fields),))  # type: ignore[arg-type]


def _twice(name: str = "wan2", number: int = 2) -> Policy:
    return replace(PLAIN, paths=(*PLAIN.paths, replace(PLAIN.paths[0], name=name, number=number)))


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        (_path(number=0), "policy: path 0: number: found 0, expected 1 to 255"),
        (_path(weight=0), "policy: path 0: weight: found 0, expected 1 to 2147483647"),
        (_path(weight=MAX_NUMBER + 1), "weight: found 2147483648, expected 1 to"),
        (_path(priority=MAX_NUMBER + 1), "priority: found 2147483648, expected 0 to 2147483647"),
        (_path(rate_down=MAX_RATE + 1), "rate: found 1099511627776, expected 0 to 1099511627775"),
        (_path(name=""), "length of the name: found 0, expected 1 to 80"),
        (_path(name=81 * "x"), "length of the name: found 81, expected 1 to 80"),
        (_path(name="wan 1"), "name: found 'wan 1', expected letters, digits and . _ - /"),
        (_path(name="wan\n1"), r"name: found 'wan\\n1', expected letters"),
        (_path(name='"'), "name: found '\"', expected letters"),
        (_twice(name="wan1"), "policy: names of paths: found wan1 twice, expected each once"),
        (_twice(number=1), "policy: numbers of paths: found 1 twice, expected each once"),
        (replace(PLAIN, paths=()), "policy: number of paths: found 0, expected 1 to 255"),
        (replace(PLAIN, classes=()), "policy: number of classes: found 0, expected 1 to 16"),
        (replace(PLAIN, classes=17 * PLAIN.classes), "policy: number of classes: found 17, expected 1 to 16"),
        (replace(PLAIN, classes=2 * PLAIN.classes), "policy: names of classes: found default twice"),
        (replace(PLAIN, default=1), "policy: default class: found 1, expected 0 to 0"),
        (_class(copies=0), "policy: class 0: copies: found 0, expected 1 to 3"),
        (_class(copies=4), "policy: class 0: copies: found 4, expected 1 to 3"),
        (_class(preferred=(2,)), "policy: class 0: preferred: found 2, expected the number of a path of this policy"),
        (_class(excluded=(1, 9)), "policy: class 0: excluded: found 9, expected the number of a path"),
        (_class(excluded=(1, 1)), "policy: class 0: excluded: found 1 twice, expected each once"),
        (replace(PLAIN, rules=(Rule(0), Rule(1))), "policy: rule 1: class: found 1, expected 0 to 0"),
        (replace(PLAIN, rules=257 * (Rule(0),)), "policy: number of rules: found 257, expected 0 to 256"),
        (replace(PLAIN, rules=(Rule(0, dscps=frozenset({64})),)), "policy: rule 0: DSCPs: found 64, expected 0 to 63"),
        (
            replace(PLAIN, rules=(Rule(0, source_ports=((2, 1),)),)),
            "policy: rule 0: source ports: found 2 to 1, expected the lower one first",
        ),
    ],
)
def test_what_a_policy_must_not_say(policy: Policy, fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault):
        decode(encode(policy))


def test_a_scheduling_that_is_not_known_is_refused() -> None:
    data = encode(PLAIN)
    at = data.index(b"default") + len(b"default")
    assert decode(data[:at] + b"\2" + data[at + 1 :]).classes[0].scheduling == "balanced"
    with pytest.raises(ProtocolError, match="policy: class 0: policy: found 3, expected 0 to 2"):
        decode(data[:at] + b"\3" + data[at + 1 :])
    # Flags of later versions.
    assert decode(data[: at + 1] + b"\xfe" + data[at + 2 :]) == PLAIN


def test_a_prefix_of_a_rule_is_checked() -> None:
    data = encode(replace(PLAIN, rules=(Rule(0, sources=(ip_network("172.16.0.0/24"),)),)))
    at = data.index(bytes([4, 172, 16, 0, 0, 24]))
    with pytest.raises(ProtocolError, match=r"policy: rule 0: prefix: found .* expected a network without host bits"):
        decode(data[: at + 5] + b"\x08" + data[at + 6 :])


def test_a_policy_is_not_longer_than_it_may_be() -> None:
    rule = Rule(0, sources=20 * (ip_network("2001:db8::/64"),))
    fits, exceeds = replace(PLAIN, rules=22 * (rule,)), replace(PLAIN, rules=23 * (rule,))
    assert decode(encode(fits)) == fits
    with pytest.raises(ValueError, match=f"expected at most {MAX_POLICY}"):
        encode(exceeds)
    with pytest.raises(ProtocolError, match=f"policy: length: found {MAX_POLICY + 1}, expected at most {MAX_POLICY}"):
        decode(encode(PLAIN).ljust(MAX_POLICY + 1, b"\0"))


def test_more_paths_than_there_are_numbers() -> None:
    with pytest.raises(ProtocolError, match="policy: number of paths: found 256, expected 1 to 255"):
        decode(b"\1" + encode_varint(256) + 300 * b"\1")
    most = tuple(PathSpec(number, f"wan{number}", 0, 0, 1, None) for number in range(1, 256))
    assert decode(encode(replace(PLAIN, paths=most))).paths == most


def test_paths_times_classes_are_bounded() -> None:
    classes = tuple(TrafficClass(f"class-{number}", "balanced") for number in range(16))
    paths = tuple(PathSpec(number, f"wan{number}", 0, 0, 1, None) for number in range(1, 66))
    fits = replace(PLAIN, paths=paths[:64], classes=classes)
    assert decode(encode(fits)) == fits
    with pytest.raises(ValueError, match="found 65 paths and 16 classes, expected a product of at most 1024"):
        encode(replace(fits, paths=paths))
    data = encode(replace(PLAIN, paths=paths, classes=classes[:1]))
    at = data.index(bytes([1, 0, 7]) + b"class-0")
    with pytest.raises(ProtocolError, match="policy: paths and classes: found 65 and 16, expected a product of"):
        decode(data[:at] + b"\x10" + data[at + 1 :])


def test_the_generation_can_be_read_alone() -> None:
    assert generation(encode(replace(PLAIN, generation=70_000))) == 70_000
    with pytest.raises(ProtocolError, match="policy: generation: found the end, expected an integer"):
        generation(b"")
