# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator types, and what the plan's matches take."""

from __future__ import annotations

import pytest
from mpquic.host.errors import ConfigError, UsageError
from mpquic.host.explain import plan
from mpquic.host.explain.packet import dscp_name, parse


@pytest.mark.parametrize(
    ("options", "faults"),
    [
        ({"source": "172.16.5.300"}, ["src 172.16.5.300"]),
        ({"destination": "2001:db8::1"}, ["one family"]),
        ({"protocol": "tdp"}, ["proto tdp"]),
        ({"protocol": "256"}, ["proto 256"]),
        ({"protocol": "icmp", "dport": 5}, ["dport 5: expected a protocol with ports"]),
        ({"dport": 5}, ["dport 5: expected a protocol with ports"]),
        ({"protocol": "udp", "sport": 65536}, ["sport 65536"]),
        ({"dscp": "64"}, ["dscp 64"]),
        ({"dscp": "high", "source": "x"}, ["dscp high", "src x"]),
        ({"iif": "a b"}, ["iif 'a b'"]),
    ],
)
def test_bad_arguments_are_all_named(options, faults):
    arguments = {"source": "172.16.5.2", "destination": "198.51.100.7", **options}
    with pytest.raises(UsageError) as refused:
        parse(arguments.pop("source"), arguments.pop("destination"), **arguments)
    for fault in faults:
        assert fault in str(refused.value)


def test_names_and_numbers():
    assert parse("1.2.3.4", "5.6.7.8", protocol="47").protocol == 47
    assert parse("1.2.3.4", "5.6.7.8", protocol="gre", dscp="af41").dscp == 34
    assert parse("fd00::1", "fd00::2", protocol="icmp").protocol == 58
    assert parse("1.2.3.4", "5.6.7.8", dscp="0x2e").dscp == 46
    assert [dscp_name(number) for number in (0, 46, 63)] == ["0", "ef", "63"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("links: [", "is no YAML"),
        ("links: [{name: mt1}]", "no 'lans'"),
        ("links: [{name: mt1, lans: [], classes: [{name: a, tun: a, mark: x}], default: a}]", "'x'"),
        ("links: [{name: mt1, lans: [], classes: [{name: a, tun: a, mark: 1, matches: [{protocol: [tdp]}]}]}]", "tdp"),
    ],
)
def test_a_plan_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        plan.load(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


def test_icmp_of_the_other_family_is_in_no_rule_of_one_family():
    odd = parse("1.2.3.4", "5.6.7.8", protocol="icmpv6", dscp="ef")
    assert plan.Match(protocol=(58,)).takes(odd)
    assert not plan.Match(protocol=(58,), dscp=(46,)).takes(odd)
    assert plan.Match(protocol=(58, 6), dscp=(46,)).takes(odd)


def test_a_host_without_classes_has_none(tmp_path):
    assert plan.load(tmp_path / "classes.yaml").links == ()
