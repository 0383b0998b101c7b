# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted where the kernel of this machine cannot show it: without IPv6, and between two owners of one LAN."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface

import pytest
from mpquic.host import repair, routing
from mpquic.host.instances import Instance, Lan, Selection
from mpquic.host.state import HostState

CLASS = Instance(
    id="cr5",
    role="client",
    tun="cr5",
    address=IPv4Interface("10.200.10.1/32"),
    mtu=1441,
    wan="enp7s7",
    wan_address=None,
    lan=Lan((), None, 46016, 200, 0x00110000),
    digest="",
    address6=IPv6Interface("fd6d:7071:10::1/128"),
    tun_peer="10.200.10.254",
)


def report(*, ipv6: bool) -> repair.Report:
    state = HostState(links={}, addresses={}, rules=(), routes=(), ipv6=ipv6)
    (found,) = repair.check(state, Selection("cr5", (CLASS,), (CLASS,))).reports
    return found


def test_a_kernel_without_ipv6_gets_none_and_says_so():
    found = report(ipv6=False).problems
    assert [problem.message for problem in found if problem.code == "ipv6_off"] == ["this kernel has no IPv6"]
    assert not [problem for problem in found if "::" in problem.message]
    # Two rules, the route and the standing one, and the TUN.
    assert len(found) == 6


def test_with_ipv6_all_of_it_is_missed():
    found = report(ipv6=True).problems
    assert "ipv6_off" not in {problem.code for problem in found}
    assert len([problem for problem in found if "::" in problem.message]) == 4


@pytest.mark.parametrize("first", [0, 1])
def test_what_stands_for_a_lan_is_that_of_the_tunnel_which_does_not_stand_by(first):
    lan = Lan((IPv4Network("172.16.6.0/30"),), None, None, None, standby=True)
    waits = replace(CLASS, id="6", role="server", tun="mpq6", lan=lan)
    carries = replace(waits, id="mp1", tun="mp1", lan=replace(lan, standby=False))
    state = HostState(links={}, addresses={}, rules=(), routes=routing.wanted(carries).standing, ipv6=False)
    known = (waits, carries) if first else (carries, waits)
    assert [routing.owned(item, known, state).routes for item in (waits, carries)] == [(), state.routes]
