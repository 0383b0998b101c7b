# SPDX-License-Identifier: GPL-3.0-or-later
"""Longest prefix match against the standard library's idea of a network."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core import prefixes
from mpquic.core.prefixes import PrefixTable

if TYPE_CHECKING:
    from mpquic.core.types import Network


@st.composite
def addresses(draw: st.DrawFn) -> bytes:
    """Addresses of both families that share many of their first and last bits."""
    size = draw(st.sampled_from([4, 16]))
    parts = [draw(st.sampled_from([0, 1, 3, 10, 128, 255])) for _byte in range(4)]
    return bytes(parts[:2]) + bytes(size - 4) + bytes(parts[2:])


@st.composite
def networks(draw: st.DrawFn) -> Network:
    address = draw(addresses())
    return ip_network((address, draw(st.integers(0, 8 * len(address)))), strict=False)


def expected(entries: dict[Network, int], address: bytes) -> int | None:
    """Return the owner of the longest network that holds an address, by looking at all of them."""
    where = ip_address(address)
    holding = [network for network in entries if where in network]
    return entries[max(holding, key=lambda network: network.prefixlen)] if holding else None


@given(st.dictionaries(networks(), st.integers(0, 5), max_size=20), st.lists(addresses(), max_size=30))
def test_the_longest_prefix_wins(entries: dict[Network, int], asked: list[bytes]) -> None:
    table = PrefixTable(entries.items())
    # Twice: the second answer is a remembered one.
    for address in asked * 2:
        assert table.owner(address) == expected(entries, address)


@given(networks())
def test_the_edges_of_a_prefix(network: Network) -> None:
    table = PrefixTable([(network, "owner")])
    first, last = int(network.network_address), int(network.broadcast_address)
    size = network.max_prefixlen // 8
    for number, owner in ((first, "owner"), (last, "owner"), (first - 1, None), (last + 1, None)):
        if 0 <= number < 1 << 8 * size:
            assert table.owner(number.to_bytes(size, "big")) == owner


def test_families_are_apart() -> None:
    table = PrefixTable([(ip_network("0.0.0.0/0"), 4), (ip_network("::a00:0/104"), 6)])
    assert table.owner(bytes([10, 0, 0, 1])) == 4
    assert table.owner(bytes(12) + bytes([10, 0, 0, 1])) == 6
    assert table.owner(bytes(12) + bytes([11, 0, 0, 1])) is None


@pytest.mark.parametrize("size", [0, 1, 3, 5, 15, 17])
def test_what_is_no_address_has_no_owner(size: int) -> None:
    table = PrefixTable([(ip_network("0.0.0.0/0"), 4), (ip_network("::/0"), 6)])
    assert table.owner(bytes(size)) is None


def test_a_prefix_has_one_owner() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8 has two owners"):
        PrefixTable([(ip_network("10.0.0.0/8"), 1), (ip_network("10.0.0.0/9"), 1), (ip_network("10.0.0.0/8"), 2)])
    # The same bits in the other family are another prefix.
    PrefixTable([(ip_network("0.0.0.0/0"), 1), (ip_network("::/0"), 2)])


def test_whoever_walks_through_addresses_fills_no_memory() -> None:
    table = PrefixTable([(ip_network("10.0.0.0/8"), "ten"), (ip_network("10.1.0.0/16"), "one")])
    for number in range(3 * prefixes._REMEMBERED):
        address = (10 << 24 | number * 7919 % (1 << 24)).to_bytes(4, "big")
        assert table.owner(address) == ("one" if address[1] == 1 else "ten")
        assert len(table._remembered) <= prefixes._REMEMBERED
    assert table.owner(bytes([10, 1, 2, 3])) == "one"
    assert table.owner(bytes([11, 1, 2, 3])) is None
