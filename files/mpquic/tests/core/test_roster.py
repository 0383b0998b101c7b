# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may register what: keys, names a CA vouches for, prefixes of one's own and of others, peers without a key."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core import messages
from mpquic.core.connection import Identity
from mpquic.core.roster import Member, RefusalError, Roster

if TYPE_CHECKING:
    from mpquic.core.types import Network

PROTOCOL = "mpq/1"
PIN_A, PIN_B, PIN_NEW, PIN_X = (f"sha256:{letter * 64}" for letter in "abcd")


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


A = Member("a", networks("10.200.1.1/32", "172.16.0.0/16", "fd00:1::/48"), frozenset({PIN_A, PIN_NEW}))
#: Another tunnel of the same key, of A's and of nobody's.
A2 = Member("a2", networks("10.200.2.1/32", "172.17.0.0/24"), frozenset({PIN_A}))
B = Member("b", networks("10.200.3.0/30", "192.168.0.0/16", "fd00:3::1/128"), frozenset({PIN_B}))
C = Member("c", networks("10.200.4.1/32"), names=frozenset({"client-c", "c.example.net"}))
OLD = Member("old", networks("10.200.5.1/32"), sources=networks("198.51.100.0/24", "2001:db8::/32"))
OLDER = Member("older", networks("10.200.6.1/32"), sources=networks("198.51.100.128/25", "203.0.113.7/32"))
ROSTER = Roster([A, A2, B, C, OLD, OLDER])


def claim(identity: Identity, *prefixes: str, roster: Roster = ROSTER) -> str:
    return roster.claim(identity, networks(*prefixes)).name


def refusal(identity: Identity, *prefixes: str, roster: Roster = ROSTER) -> tuple[int, str]:
    with pytest.raises(RefusalError) as caught:
        roster.claim(identity, networks(*prefixes))
    assert str(caught.value) == caught.value.reason
    assert len(caught.value.reason.encode()) > 0
    return caught.value.code, caught.value.reason


def pinned(pin: str) -> Identity:
    return Identity(PROTOCOL, pin)


@pytest.mark.parametrize("pin", [PIN_A, PIN_NEW])
@pytest.mark.parametrize(
    "prefixes",
    [
        ("10.200.1.1/32",),
        ("172.16.9.9/32",),
        ("fd00:1::1/128", "10.200.1.1/32"),
        ("10.200.1.1/32", "172.16.0.0/16", "fd00:1::/48"),
        ("10.200.1.1/32", "172.16.4.0/30", "172.16.4.0/24", "fd00:1:0:9::/64"),
        ("10.200.1.1/32", "10.200.1.1/32"),
    ],
)
def test_a_key_gets_what_is_its_own(pin: str, prefixes: tuple[str, ...]) -> None:
    assert claim(pinned(pin), *prefixes) == "a"


@pytest.mark.parametrize(
    ("prefixes", "culprit"),
    [
        (("10.200.3.1/32",), "10.200.3.1"),
        (("fd00:3::1/128",), "fd00:3::1"),
        (("10.200.9.1/32",), "10.200.9.1"),
        (("0.0.0.0/32",), "0.0.0.0"),
        (("::/128",), "::"),
        (("10.200.5.1/32",), "10.200.5.1"),
        (("10.200.1.1/32", "10.200.3.1/32"), "10.200.3.1/32"),
        (("10.200.1.1/32", "192.168.0.0/24"), "192.168.0.0/24"),
        (("10.200.1.1/32", "fd00:3::1/128"), "fd00:3::1/128"),
        # More than its own, up to everything.
        (("10.200.1.1/32", "172.16.0.0/15"), "172.16.0.0/15"),
        (("10.200.1.1/32", "10.200.1.0/31"), "10.200.1.0/31"),
        (("10.200.1.1/32", "0.0.0.0/0"), "0.0.0.0/0"),
        (("10.200.1.1/32", "::/0"), "::/0"),
        (("10.200.1.1/32", "fd00:1::/47"), "fd00:1::/47"),
        # The other tunnel of the same key is another tunnel.
        (("10.200.1.1/32", "172.17.0.0/24"), "172.17.0.0/24"),
        (("10.200.1.1/32", "10.200.2.1/32"), "10.200.2.1/32"),
    ],
)
def test_a_key_gets_nothing_else(prefixes: tuple[str, ...], culprit: str) -> None:
    code, reason = refusal(pinned(PIN_NEW), *prefixes)
    assert code == messages.NOT_ALLOWED
    assert reason.startswith(f"{culprit} is not ")


def test_a_key_of_two_tunnels_says_which_by_its_address() -> None:
    assert claim(pinned(PIN_A), "10.200.1.1/32", "172.16.4.0/30") == "a"
    assert claim(pinned(PIN_A), "10.200.2.1/32", "172.17.0.0/24") == "a2"
    assert refusal(pinned(PIN_NEW), "10.200.2.1/32")[0] == messages.NOT_ALLOWED


def test_the_address_is_looked_up_by_its_longest_prefix() -> None:
    """A prefix within another's, which the configuration does not allow, is never the other's."""
    wide = Member("wide", networks("10.0.0.0/8"), frozenset({PIN_A}))
    narrow = Member("narrow", networks("10.1.0.0/16"), frozenset({PIN_B}))
    roster = Roster([wide, narrow])
    assert claim(pinned(PIN_A), "10.2.0.1/32", roster=roster) == "wide"
    assert claim(pinned(PIN_B), "10.1.0.1/32", roster=roster) == "narrow"
    assert refusal(pinned(PIN_A), "10.1.0.1/32", roster=roster)[0] == messages.NOT_ALLOWED
    assert refusal(pinned(PIN_B), "10.2.0.1/32", roster=roster)[0] == messages.NOT_ALLOWED
    with pytest.raises(ValueError, match="two owners"):
        Roster([wide, Member("again", networks("10.0.0.0/8"))])


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (Identity(PROTOCOL), "no client certificate"),
        (Identity(PROTOCOL, None, (), "expired"), "no client certificate"),
        (pinned(PIN_X), f"key {PIN_X} is no peer here"),
        (Identity(PROTOCOL, PIN_X, (), "certificate expired"), f"key {PIN_X} is no peer here (certificate expired)"),
        (Identity(PROTOCOL, PIN_X, ("client-d", "C.example.com")), f"key {PIN_X} is no peer here"),
    ],
)
def test_strangers_own_nothing(identity: Identity, said: str) -> None:
    for address in ("10.200.1.1/32", "10.200.4.1/32", "10.200.5.1/32", "203.0.113.1/32"):
        assert refusal(identity, address) == (messages.NOT_A_PEER, said)
    assert ROSTER.name_of(identity) == ""


def test_a_name_that_a_ca_vouches_for_is_as_good_as_a_key() -> None:
    for names in (("client-c",), ("x", "c.example.net"), ("C.Example.NET",)):
        assert claim(Identity(PROTOCOL, PIN_X, names), "10.200.4.1/32") == "c"
        assert refusal(Identity(PROTOCOL, PIN_X, names), "10.200.1.1/32")[0] == messages.NOT_ALLOWED
    # A key and a name of different peers: the address decides, and either may be right.
    both = Identity(PROTOCOL, PIN_B, ("client-c",))
    assert claim(both, "10.200.3.1/32") == "b"
    assert claim(both, "10.200.4.1/32") == "c"
    assert ROSTER.name_of(both) == "b,c"


def test_names_for_the_log() -> None:
    assert ROSTER.name_of(pinned(PIN_A)) == "a,a2"
    assert ROSTER.name_of(pinned(PIN_B)) == "b"


def test_nobody_is_somebody_without_keys_and_names() -> None:
    """A peer without a key is never that of a client with one, nor of one without."""
    for identity in (Identity(PROTOCOL), Identity(PROTOCOL, PIN_X, ("",)), Identity(PROTOCOL, "")):
        for member in (OLD, Member("empty", networks("10.0.0.1/32"))):
            assert not member.recognises(identity)


def test_an_empty_roster_refuses_everybody() -> None:
    assert refusal(pinned(PIN_A), "10.200.1.1/32", roster=Roster([]))[0] == messages.NOT_A_PEER
    assert Roster([]).legacy("198.51.100.1") is None


@pytest.mark.parametrize(
    ("source", "address", "name"),
    [
        ("198.51.100.1", "10.200.5.1", "old"),
        ("2001:db8::1", "10.200.5.1", "old"),
        ("2001:db8::1%eth0", "10.200.5.1", "old"),
        ("198.51.100.200", "10.200.5.1", "old"),
        ("198.51.100.200", "10.200.6.1", "older"),
        ("203.0.113.7", "10.200.6.1", "older"),
        # From elsewhere, or from the other one's network.
        ("203.0.113.8", "10.200.6.1", None),
        ("198.51.100.1", "10.200.6.1", None),
        ("203.0.113.7", "10.200.5.1", None),
        ("::ffff:198.51.100.1", "10.200.5.1", None),
        # Somebody who has a key, or nobody.
        ("198.51.100.1", "10.200.1.1", None),
        ("198.51.100.1", "203.0.113.9", None),
    ],
)
def test_a_peer_without_a_key_is_known_by_where_it_comes_from(source: str, address: str, name: str | None) -> None:
    found = ROSTER.legacy(source, ip_address(address).packed)
    assert (found.name if found is not None else None) == name


@pytest.mark.parametrize(
    ("source", "name"), [("198.51.100.200", "old"), ("203.0.113.7", "older"), ("203.0.113.8", None), ("::1", None)]
)
def test_whether_a_peer_without_a_key_may_come_from_there(source: str, name: str | None) -> None:
    found = ROSTER.legacy(source)
    assert (found.name if found is not None else None) == name


#: A site with three tunnels, two of which have the same LANs behind them.
KEY = frozenset({PIN_A})
DF = Member("df", networks("10.200.10.5/32", "fd6d::5/128"), KEY, shared=networks("172.16.5.0/24", "fd00:5::/64"))
CR = Member("cr", networks("10.200.10.1/32", "fd6d::1/128"), KEY, shared=networks("172.16.5.0/24", "172.16.6.0/24"))
BK = Member("bk", networks("10.200.10.9/32"), KEY)
OTHERS = Member("other", networks("10.200.10.13/32"), frozenset({PIN_B}), shared=networks("172.16.7.0/24"))
SITE = Roster([DF, CR, BK, OTHERS])


def owner(address: str, roster: Roster = SITE) -> str | None:
    found = roster.table.owner(ip_address(address).packed)
    return found.name if found is not None else None


def test_who_shares_a_prefix_owns_it_together() -> None:
    assert owner("172.16.5.9") == "df cr"
    assert SITE.shared["df cr"].owners == (DF, CR)
    # What a single member lists is its own.
    assert owner("fd00:5::9") == "df"
    assert owner("172.16.6.9") == "cr"
    assert owner("172.16.7.9") == "other"
    assert owner("172.16.8.9") is None
    assert [owner(f"10.200.10.{host}") for host in (1, 5, 9, 13)] == ["cr", "df", "bk", "other"]
    assert list(SITE.shared) == ["df cr"]


@pytest.mark.parametrize(
    ("prefixes", "name"),
    [
        (("10.200.10.5/32", "fd6d::5/128", "172.16.5.0/24", "fd00:5::/64"), "df"),
        (("10.200.10.5/32",), "df"),
        (("fd6d::5/128", "10.200.10.5/32"), "df"),
        (("10.200.10.1/32", "fd6d::1/128", "172.16.5.0/25", "172.16.6.1/32"), "cr"),
        (("10.200.10.9/32",), "bk"),
    ],
)
def test_both_addresses_and_what_is_shared_can_be_registered(prefixes: tuple[str, ...], name: str) -> None:
    assert claim(pinned(PIN_A), *prefixes, roster=SITE) == name


@pytest.mark.parametrize(
    ("prefixes", "culprit"),
    [
        # Of two peers, and so of neither: it does not say which tunnel this is.
        (("172.16.5.9/32",), "172.16.5.9"),
        # The other family's address of another tunnel of this key.
        (("10.200.10.5/32", "fd6d::1/128"), "fd6d::1/128"),
        (("fd6d::1/128", "10.200.10.5/32"), "10.200.10.5/32"),
        (("10.200.10.5/32", "172.16.6.0/24"), "172.16.6.0/24"),
        (("10.200.10.5/32", "172.16.4.0/23"), "172.16.4.0/23"),
        (("10.200.10.9/32", "172.16.5.0/24"), "172.16.5.0/24"),
    ],
)
def test_nothing_else_can_be(prefixes: tuple[str, ...], culprit: str) -> None:
    code, reason = refusal(pinned(PIN_A), *prefixes, roster=SITE)
    assert code == messages.NOT_ALLOWED
    assert reason.startswith(f"{culprit} is not ")


def test_a_shared_prefix_is_nobody_elses() -> None:
    with pytest.raises(ValueError, match="two owners"):
        Roster([DF, CR, Member("third", networks("172.16.5.0/24"))])
    assert refusal(pinned(PIN_B), "10.200.10.13/32", "172.16.5.0/24", roster=SITE)[0] == messages.NOT_ALLOWED


@st.composite
def prefixes_of(draw: st.DrawFn, roster: Roster = ROSTER) -> Network:
    """Prefixes in and around those of the roster."""
    base = draw(st.sampled_from([prefix for member in roster.members for prefix in member.prefixes]))
    length = draw(st.integers(max(0, base.prefixlen - 4), base.max_prefixlen))
    offset = draw(st.integers(-4, 1 << min(16, base.max_prefixlen - base.prefixlen)))
    number = (int(base.network_address) + offset) % (1 << base.max_prefixlen)
    return ip_network((number.to_bytes(base.max_prefixlen // 8, "big"), length), strict=False)


@given(st.sampled_from([PIN_A, PIN_NEW, PIN_B, PIN_X, None]), st.lists(prefixes_of(), min_size=1, max_size=4))
def test_what_is_granted_is_the_members_own(pin: str | None, prefixes: list[Network]) -> None:
    first = ip_network(prefixes[0].network_address)
    wanted = [first, *prefixes[1:]]
    owning = [
        member
        for member in ROSTER.members
        if pin in member.pins
        and all(any(p.version == own.version and p.subnet_of(own) for own in member.allowed) for p in wanted)
    ]
    if owning:
        assert [ROSTER.claim(Identity(PROTOCOL, pin), wanted)] == owning
    else:
        code, _reason = refusal(Identity(PROTOCOL, pin), *map(str, wanted))
        assert (code == messages.NOT_A_PEER) == (pin in {PIN_X, None})


@given(st.sampled_from([PIN_A, PIN_B, PIN_X]), st.lists(prefixes_of(SITE), min_size=1, max_size=4))
def test_what_is_granted_of_a_site_is_the_members_own_or_shared(pin: str, prefixes: list[Network]) -> None:
    first = ip_network(prefixes[0].network_address)
    wanted = [first, *prefixes[1:]]
    together = ip_network("172.16.5.0/24")
    owning = [
        member
        for member in SITE.members
        if pin in member.pins
        and all(any(p.version == own.version and p.subnet_of(own) for own in member.prefixes) for p in wanted)
        and not (first.version == 4 and first.subnet_of(together))
    ]
    if owning:
        assert [SITE.claim(pinned(pin), wanted)] == owning
    else:
        refusal(pinned(pin), *map(str, wanted), roster=SITE)
