# SPDX-License-Identifier: GPL-3.0-or-later
"""A class with copies, and a path of it that goes and comes back."""

from __future__ import annotations

import pytest
from bundles import CLIENT, SERVER, Link, Net, Talk, policy, spec
from mpquic.core.multipath.policy import TrafficClass


@pytest.mark.parametrize("end", [CLIENT, SERVER])
def test_a_path_that_carries_copies_again_overtakes_nothing(end: int) -> None:
    """It is the fast one: its first copies would come before what only the slow one has carried."""
    classes = [TrafficClass("default", "priority", copies=2)]
    net = Net(policy(spec(1), spec(2), classes=classes), {1: Link(delay=(0.005, 0.005)), 2: Link(delay=(0.045, 0.045))})
    net.connect()
    talks = [Talk(4000 + number) for number in range(4)]
    for number, talk in enumerate(talks):
        for at in range(100 + number, 6000, 5):
            net.at(at / 1000, lambda talk=talk: net.send(end, talk.packet(end)))
    net.at(1.0, lambda: net.disconnect(1))
    net.at(2.0, lambda: net.connect(1))
    net.run(6.5)
    assert net.paths[end][1].counters.tx_packets > 4 * 500, "it carries copies again"
    for talk in talks:
        assert talk.heard(net.written[1 - end]) == list(range(talk.sent)), "each once, in order"


@pytest.mark.parametrize("end", [CLIENT, SERVER])
def test_a_suspected_path_that_lets_packets_through_again_overtakes_nothing(end: int) -> None:
    """Its copies were lost, then they are not: the sender hears of that later than the receiver."""
    classes = [TrafficClass("default", "priority", copies=2)]
    net = Net(policy(spec(1), spec(2), classes=classes), {1: Link(delay=(0.005, 0.005)), 2: Link(delay=(0.045, 0.045))})
    net.connect()
    talk = Talk(4000)
    for at in range(100, 4000, 5):
        net.at(at / 1000, lambda: net.send(end, talk.packet(end)))
    for at, dead in ((1.0, True), (1.6, False)):
        net.at(at, lambda dead=dead: setattr(net.links[1], "dead", dead))
    net.run(4.5)
    assert talk.heard(net.written[1 - end]) == list(range(talk.sent)), "each once, in order"
