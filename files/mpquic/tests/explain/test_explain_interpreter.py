# SPDX-License-Identifier: GPL-3.0-or-later
"""The interpreter on what the real nft prints, form by form."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from explain_site import namespace, nft
from mpquic.host.explain import ruleset
from mpquic.host.explain.interpreter import ESTABLISHED, Walk
from mpquic.host.explain.packet import Packet

pytestmark = pytest.mark.netns

UDP4 = Packet(ip_address("172.16.5.2"), ip_address("198.51.100.7"), 17, 4000, 5060, 46, "enp7s1")
TCP6 = Packet(ip_address("fd00:5::2"), ip_address("2001:db8::7"), 6, 4000, 443, 0, "enp7s1")
SCTP4 = Packet(UDP4.source, UDP4.destination, 132, 4000, 36412, 0, "enp7s1")
BARE = Packet(ip_address("172.16.5.2"), ip_address("198.51.100.7"), iif="enp7s1")


def marks(rules, packet=UDP4, more="", **carried):
    found = run(rules, packet, more, **carried)
    assert found.doubts == []
    return found.mark


def run(rules, packet=UDP4, more="", **carried):
    """Send a packet through a chain of these rules."""
    with namespace():
        nft(
            f"table inet mpquic {{ {more}\n chain mark_it {{ meta mark set 0x1; }}\n"
            f"chain c {{ type filter hook prerouting priority mangle; policy accept;\n {rules}\n }}\n}}"
        )
        found = Walk(ruleset.read(), packet, **carried)
    found.enter("prerouting")
    return found


MATCHES = [
    ("ip saddr 172.16.5.0/30", UDP4, True),
    ("ip saddr != 172.16.5.0/30", UDP4, False),
    ("ip saddr != 172.16.5.0/30", TCP6, False),
    ("ip daddr { 192.0.2.0/24, 198.51.100.1-198.51.100.7 }", UDP4, True),
    ("ip daddr 198.51.100.8-198.51.100.9", UDP4, False),
    ("ip6 daddr { 2001:db8::/32 }", TCP6, True),
    ("ip6 daddr 2001:db8::/32", UDP4, False),
    ("udp dport { 5060, 10000-20000 }", UDP4, True),
    ("udp dport != { 5060, 10000-20000 }", UDP4, False),
    ("tcp dport != 80", UDP4, False),
    ("udp sport 4000-4001", UDP4, True),
    ("udp sport > 4000", UDP4, False),
    ("udp sport >= 4000", UDP4, True),
    ("udp sport < 4001", UDP4, True),
    ("meta l4proto { tcp, udp } th dport 443", TCP6, True),
    ("meta l4proto { tcp, sctp } th dport 36412", SCTP4, True),
    ("meta l4proto { tcp, sctp } th dport 443", SCTP4, False),
    ("th dport 443", BARE, False),
    ("meta l4proto 17", UDP4, True),
    ("meta l4proto 17-20", UDP4, True),
    ("ip protocol udp", UDP4, True),
    ("ip6 nexthdr tcp", TCP6, True),
    ("ip dscp { cs3, ef }", UDP4, True),
    ("ip dscp 46", UDP4, True),
    ("ip dscp != ef", UDP4, False),
    ("ip dscp 40-50", UDP4, True),
    ("ip6 dscp 0", TCP6, True),
    ("ip6 dscp ef", UDP4, False),
    ("meta nfproto ipv6", UDP4, False),
    ("meta protocol ip6", TCP6, True),
    ('iifname { "enp7s1", "enp7s2" }', UDP4, True),
    ('iifname "enp*"', UDP4, True),
    ('iifname "enp9*"', UDP4, False),
    ('iifname != "enp7s1"', UDP4, False),
    ("ct state new,established", UDP4, True),
    ("ct state { established, related }", UDP4, False),
    ("ct state != new", UDP4, False),
    ("ct direction reply", UDP4, False),
    ("ct mark 0x00120000", UDP4, True),
    ("ct mark & 0x0fff0000 == 0x00120000", UDP4, True),
    ("ct mark & 0x0fff0000 != 0x00120000", UDP4, False),
    ("meta mark & 0xff == 0x77", UDP4, True),
    ("tcp flags syn", TCP6, True),
    ("tcp flags & (fin|syn|rst|ack) == syn", TCP6, True),
    ("tcp flags ack", TCP6, False),
    ("ip saddr @lan", UDP4, True),
    ("ip daddr @lan", UDP4, False),
    ("counter", UDP4, True),
    ('log prefix "x"', UDP4, True),
]


@pytest.fixture(scope="module")
def table():
    """Load one chain for each match, and a set that some of them name."""
    chains = [f"chain m{number} {{ {match} goto mark_it;\n}}" for number, (match, _, _) in enumerate(MATCHES)]
    named = "set lan { type ipv4_addr; flags interval; elements = { 172.16.0.0/16, 10.0.0.1 }; }"
    with namespace():
        nft("\n".join(["table inet mpquic {", named, "chain mark_it { meta mark set 0x1; }", *chains, "}"]))
        return ruleset.read()


@pytest.mark.parametrize("number", range(len(MATCHES)), ids=[match for match, _, _ in MATCHES])
def test_matches(table, number):
    _match, packet, hit = MATCHES[number]
    found = Walk(table, packet, mark=0x77, ct_mark=0x120000)
    found._chain(table.chains[f"m{number}"])
    assert found.doubts == []
    assert found.mark == (1 if hit else 0x77)


@pytest.mark.parametrize(
    ("statement", "mark"),
    [
        ("meta mark set meta mark & 0xf000ffff | 0x00110000", 0xA0111234),
        ("meta mark set meta mark or 0x8", 0xA123123C),
        ("meta mark set meta mark xor 0x4", 0xA1231230),
        ("meta mark set ct mark", 0x5),
        ("meta mark set ct mark map { 0x5 : 0x9, 0x6 : 0x8 }", 0x9),
        ("meta mark set ct mark map { 0x6 : 0x8 }", 0xA1231234),
        ("ct mark set meta mark & 0xffff meta mark set ct mark", 0x1234),
        ("ct mark & 0xf vmap { 0x4 : drop, 0x5 : goto mark_it }", 0x1),
        ("ct mark vmap @classes", 0x1),
        ("ct mark vmap { 0x6 : goto mark_it }", 0xA1231234),
        ("return\n meta mark set 9", 0xA1231234),
        ("accept\n meta mark set 9", 0xA1231234),
        ("jump mark_it\n meta mark set meta mark or 0x10", 0x11),
        ("goto mark_it\n meta mark set 9", 0x1),
        ("continue\n meta mark set 9", 0x9),
    ],
)
def test_statements(statement, mark):
    named = "map classes { type mark : verdict; elements = { 0x5 : goto mark_it, 0x6 : drop }; }"
    assert marks(statement, more=named, mark=0xA1231234, ct_mark=5) == mark


def test_a_goto_ends_the_chain_it_stands_in_but_not_the_one_before():
    more = "chain first { goto mark_it; meta mark set 0x99; }"
    assert marks("jump first\n meta mark set meta mark or 0x10", more=more) == 0x11


def test_a_changed_dscp_is_what_later_rules_see():
    found = run("ip dscp set cs1\n ip dscp cs1 goto mark_it")
    assert (found.mark, found.dscp) == (1, 8)


def test_an_established_flow_is_no_new_one():
    assert marks("ct state new goto mark_it", ct_state=ESTABLISHED) == 0
    assert marks("ct state established goto mark_it", ct_state=ESTABLISHED) == 1


@pytest.mark.parametrize(
    "rule",
    [
        "meta length 100 goto mark_it",
        "ip ttl 5 goto mark_it",
        "ct zone 5 goto mark_it",
        "ip saddr . udp dport { 172.16.5.2 . 5060 } goto mark_it",
        "limit rate 5/second goto mark_it",
        "notrack",
        "meta length 100 drop",
        "ct zone set 5",
    ],
)
def test_what_is_not_understood_is_said_and_does_nothing(rule):
    found = run(rule)
    assert len(found.doubts) == 1
    assert found.doubts[0].startswith("not understood: ")
    assert found.mark == 0


def test_a_field_that_was_not_given_is_told():
    found = run(
        "udp dport 5060 goto mark_it\n meta l4proto tcp goto mark_it\n ip dscp ef tcp dport 1 goto mark_it", BARE
    )
    assert found.mark == 0
    assert found.doubts == []
    # The third rule has another reason not to match.
    assert len(found.missing) == 2


def test_policy_and_verdicts():
    with namespace():
        nft("table inet mpquic { chain f { type filter hook forward priority 0; policy drop; udp dport 53 accept; }; }")
        table = ruleset.read()
    assert Walk(table, UDP4).enter("forward").rule.text == "policy drop"
    assert Walk(table, Packet(UDP4.source, UDP4.destination, 17, 4000, 53)).enter("forward") is None


def test_no_table_at_all():
    with namespace():
        nft("table ip mpquic { chain f { type filter hook forward priority 0; }; }")
        table = ruleset.read()
    assert (table.loaded, table.chains) == (False, {})
    assert table.foreign == (("forward", "ip mpquic f"),)
