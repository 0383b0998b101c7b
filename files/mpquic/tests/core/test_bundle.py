# SPDX-License-Identifier: GPL-3.0-or-later
"""Two bundles back to back: what arrives, how often, and in which order."""

from __future__ import annotations

import math
from ipaddress import IPv4Interface, IPv6Interface

import pytest
from bundles import CLIENT, SERVER, Link, Net, Talk, policy, spec
from mpquic.core.multipath.bundle import FOLLOW_AFTER, Bundle
from mpquic.core.multipath.policy import Rule, TrafficClass
from mpquic.core.multipath.sequence import Sequencer
from mpquic.core.offload import VnetCodec
from packets import TCP, UDP, Packet

ENDS = [CLIENT, SERVER]
_SPRAY = TrafficClass("bulk", "balanced", spray=True)


def stream(net: Net, end: int, talk: Talk, times: range) -> None:
    """Send one packet at each of these milliseconds."""
    for at in times:
        net.at(at / 1000, lambda: net.send(end, talk.packet(end)))


@pytest.mark.parametrize("end", ENDS)
def test_a_packet_arrives_once_and_is_counted_once(end: int) -> None:
    net = Net(policy(spec(1), spec(2)), {1: Link(), 2: Link()})
    net.connect()
    talk = Talk(4000)
    packets = [talk.packet(end) for _ in range(20)]
    net.send(end, *packets)
    net.run(0.5)
    assert [b"".join(frame) for _at, frame in net.written[1 - end]] == packets
    assert net.written[end] == []
    octets = sum(map(len, packets))
    here, there = net.counters[end], net.counters[1 - end]
    assert (here.tx_packets, here.tx_bytes, here.rx_packets) == (20, octets, 0)
    assert (there.rx_packets, there.rx_bytes, there.tx_packets) == (20, octets, 0)
    assert [counters.drops.total() for counters in net.counters] == [0, 0]
    (sent,), (came,) = net.ends[end].classes(), net.ends[1 - end].classes()
    assert (sent.name, sent.tx_packets, sent.tx_bytes, sent.tx_dups, sent.rx_packets) == ("default", 20, octets, 0, 0)
    assert (came.rx_packets, came.rx_dups, came.tx_packets) == (20, 0, 0)
    used = [path.counters for path in net.paths[end].values() if path.counters.tx_packets]
    assert [(counters.tx_packets, counters.tx_bytes) for counters in used] == [(20, octets)], "a flow stays on one path"
    assert sum(path.counters.rx_bytes for path in net.paths[1 - end].values()) == octets


@pytest.mark.parametrize("end", ENDS)
def test_return_to_the_first_path_loses_and_reorders_nothing(end: int) -> None:
    """The path that fails is the fast one: who comes back to it would overtake what the other still carries."""
    net = Net(policy(spec(1), spec(2, priority=1)), {1: Link(delay=(0.005, 0.005)), 2: Link(delay=(0.045, 0.045))})
    net.connect()
    talks = [Talk(4000 + number) for number in range(4)]
    for number, talk in enumerate(talks):
        stream(net, end, talk, range(100 + number, 8000, 5))
    net.at(1.0, lambda: net.disconnect(1))
    net.at(2.0, lambda: net.connect(1))
    net.run(8.5)
    slow, fast = net.paths[end][2], net.paths[end][1]
    assert slow.counters.tx_packets > 4 * 200
    assert fast.counters.tx_packets > 4 * (180 + 400), "they came back"
    assert not fast.counters.drops.total(), "nothing was given to a path without a connection"
    for talk in talks:
        heard = talk.heard(net.written[1 - end])
        assert heard == sorted(set(heard)), "each once, in order"
        missing = set(range(talk.sent)) - set(heard)
        assert len(missing) <= 3, "what was on its way when the path failed"
        assert max(missing, default=0) <= 181


@pytest.mark.parametrize("end", ENDS)
def test_a_sprayed_class_arrives_in_order(end: int) -> None:
    links = {1: Link(delay=(0.01, 0.01)), 2: Link(delay=(0.03, 0.03)), 3: Link(delay=(0.02, 0.02))}
    net = Net(policy(spec(1), spec(2), spec(3), classes=[_SPRAY]), links)
    net.connect()
    talk = Talk(4000)
    stream(net, end, talk, range(100, 2100))
    net.run(2.5)
    assert talk.heard(net.written[1 - end]) == list(range(2000))
    assert all(path.counters.tx_packets > 400 for path in net.paths[end].values())
    assert net.ends[1 - end].classes()[0].rx_packets == 2000
    assert net.counters[1 - end].drops.total() == 0


def test_a_loss_holds_a_sprayed_class_up_for_a_bounded_time() -> None:
    links = {1: Link(delay=(0.01, 0.01)), 2: Link(delay=(0.04, 0.04), loses=lambda _end, count: count % 20 == 7)}
    net = Net(policy(spec(1), spec(2), classes=[_SPRAY]), links)
    net.connect()
    talk = Talk(4000)
    sent = range(100, 3100, 2)
    stream(net, CLIENT, talk, sent)
    net.run(3.5)
    heard = talk.heard(net.written[SERVER])
    assert heard == sorted(set(heard))
    lost = talk.sent - len(heard)
    assert 10 <= lost <= links[2].sent[CLIENT] // 20 + 1
    waits = [at - 100.0 - sent[number] / 1000 for number, (at, _frame) in zip(heard, net.written[SERVER], strict=True)]
    assert max(waits) <= 0.04 + 0.05 + 0.001
    assert min(waits) < 0.011


@pytest.mark.parametrize("end", ENDS)
def test_copies_make_up_for_losses_and_are_not_delivered(end: int) -> None:
    links = {
        1: Link(loses=lambda _end, count: count < 95 and count % 10 == 3),
        2: Link(delay=(0.03, 0.03), loses=lambda _end, count: count < 95 and count % 10 == 7),
        3: Link(delay=(0.05, 0.05)),
    }
    classes = [TrafficClass("default", "priority"), TrafficClass("critical", "priority", excluded=(3,), copies=2)]
    rules = (Rule(1, dscps=frozenset({46})),)
    net = Net(policy(spec(1), spec(2), spec(3), classes=classes, rules=rules), links)
    net.connect()
    talk, others = Talk(4000, tos=46 << 2), [Talk(4001 + number) for number in range(12)]
    net.send(end, *[talk.packet(end) for _ in range(95)], *[other.packet(end) for other in others])
    net.run(0.5)
    heard = talk.heard(net.written[1 - end])
    assert sorted(heard) == list(range(95))
    sent, came = net.ends[end].classes()[1], net.ends[1 - end].classes()[1]
    assert (sent.tx_packets, sent.tx_dups, came.rx_packets) == (95, 95, 95)
    assert came.rx_dups == sum(path.counters.rx_packets for path in net.paths[1 - end].values()) - 107
    assert 190 - 95 - 25 < came.rx_dups < 190 - 95 - 15
    assert net.counters[1 - end].rx_packets == 107
    assert net.counters[1 - end].drops.total() == 0, "copies are no fault"
    assert sum(path.counters.tx_packets for path in net.paths[end].values()) == 95 + 95 + 12


def test_answers_to_a_flow_have_the_class_that_the_client_gave_it() -> None:
    """The client's rule is about its ports; the server would not find it for itself, the DSCP does not come back."""
    classes = [TrafficClass("default", "priority"), TrafficClass("critical", "priority", copies=2)]
    rules = (Rule(1, dscps=frozenset({46})),)
    net = Net(policy(spec(1), spec(2), classes=classes, rules=rules), {1: Link(), 2: Link()})
    net.connect()
    asked, answered = Talk(4000, tos=46 << 2), Talk(4000)
    net.send(CLIENT, asked.packet(CLIENT))
    net.run(0.1)
    net.send(SERVER, answered.packet(SERVER))
    net.run(0.2)
    assert net.ends[SERVER].classes()[1].tx_dups == 1
    assert net.ends[CLIENT].classes()[1].rx_dups == 1


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("source", ["10.81.1.2", "2001:db8::2"])
@pytest.mark.parametrize("step", [0, 500])
def test_flows_are_known_in_what_a_device_with_offload_writes(protocol: int, source: str, step: int) -> None:
    """Packets of one segment and of several, with open checksums; and a finished one."""
    classes = [TrafficClass("default", "priority"), TrafficClass("critical", "priority")]
    net = Net(policy(spec(1), classes=classes, rules=(Rule(1, dscps=frozenset({46})),)), {1: Link()})
    net.connect()
    for bundle in net.ends:
        bundle.attach(VnetCodec(udp=True))
    target = "2001:db8::3" if ":" in source else "10.81.2.2"
    asked = Packet(bytes(1500 if step else 300), protocol, source, target, (4000, 5000), tos=46 << 2)
    answered = Packet(bytes(300), protocol, target, source, (5000, 4000))
    net.send(CLIENT, asked.read(step))
    net.run(0.1)
    assert len(net.written[SERVER]) == 1
    net.send(SERVER, answered.read())
    assert net.ends[SERVER].classes()[1].tx_packets == 1
    finished = Packet(bytes(300), protocol, source, target, (4001, 5000), tos=46 << 2)
    net.send(CLIENT, bytes(10) + finished.complete())
    net.run(0.2)
    net.send(SERVER, Packet(bytes(300), protocol, target, source, (5000, 4001)).read())
    assert net.ends[SERVER].classes()[1].tx_packets == 2


def test_without_a_path_packets_are_counted() -> None:
    net = Net(policy(spec(1), spec(2)), {1: Link(), 2: Link()})
    net.connect()
    net.disconnect(1)
    net.disconnect(2)
    talk = Talk(4000)
    net.send(CLIENT, talk.packet(CLIENT), talk.packet(CLIENT))
    assert net.counters[CLIENT].drops == {"no_path": 2}
    (counters,) = net.ends[CLIENT].classes()
    assert (counters.tx_err, counters.tx_packets, net.counters[CLIENT].tx_packets) == (2, 0, 0)


def test_what_is_no_payload_of_several_paths_is_refused() -> None:
    net = Net(policy(spec(1)), {1: Link()})
    net.connect()
    bundle, path = net.ends[SERVER], net.paths[SERVER][1]
    packet = Talk(4000).packet(CLIENT)
    strange = [b"\0" + packet, b"\x06" + packet, b"\x40\x00" + packet, b"", b"\x02\x00\x01"]
    inner = Sequencer().number([b"\x05" + packet, b"", b"\0" + packet[:-1]], [1], [3], 0, ordered=False, copy=False)
    assert bundle.accept(path, strange + inner, net.now) == []
    assert net.counters[SERVER].drops == {"context": 4, "malformed": 3, "inner_length": 1}
    assert path.rx_err == 8
    assert net.counters[SERVER].rx_packets == 0


def test_what_comes_again_unasked_is_told_apart() -> None:
    net = Net(policy(spec(1)), {1: Link()})
    net.connect()
    bundle, path, talk = net.ends[SERVER], net.paths[SERVER][1], Talk(4000)
    payloads = Sequencer().number(
        [b"\0" + talk.packet(CLIENT) for _ in range(3)], [1], [3], 0, ordered=False, copy=False
    )
    assert len(bundle.accept(path, payloads[:2], net.now)) == 2
    assert len(bundle.accept(path, payloads, net.now)) == 1
    assert net.counters[SERVER].drops == {"duplicate": 2}
    assert bundle.classes()[0].rx_dups == 2
    assert path.counters.rx_packets == 5


def test_a_class_that_this_end_does_not_know_yet_is_carried() -> None:
    net = Net(policy(spec(1)), {1: Link()})
    net.connect()
    payloads = Sequencer().number([b"\0" + Talk(4000).packet(CLIENT)], [1], [1], 15, ordered=False, copy=False)
    assert len(net.ends[SERVER].accept(net.paths[SERVER][1], payloads, net.now)) == 1


def test_what_waits_is_let_go_when_one_path_is_left() -> None:
    net = Net(policy(spec(1), spec(2), classes=[_SPRAY]), {1: Link(), 2: Link(delay=(0.2, 0.2))})
    net.connect()
    bundle, talk = net.ends[SERVER], Talk(4000)
    payloads = Sequencer().number(
        [b"\0" + talk.packet(CLIENT) for _ in range(4)], [1], [4], 0, ordered=True, copy=False
    )
    net.written[SERVER] += [(0, frame) for frame in bundle.accept(net.paths[SERVER][1], payloads[:1], net.now)]
    assert bundle.accept(net.paths[SERVER][1], payloads[2:], net.now) == []
    assert bundle.deadline() < net.now + 0.0501
    net.disconnect(2)
    assert talk.heard(net.written[SERVER]) == [0, 2, 3]


def test_the_other_end_begins_anew() -> None:
    """A server that was restarted numbers from 0 on. Only restart() makes its packets new."""
    net = Net(policy(spec(1)), {1: Link()})
    net.connect()
    before = Talk(4000)
    net.send(SERVER, *[before.packet(SERVER) for _ in range(10)])
    net.run(0.1)
    assert len(before.heard(net.written[CLIENT])) == 10

    net.ends[SERVER] = Bundle(net.policy, net.counters[SERVER], net.now, server=True)
    net.ends[SERVER].configure(net.policy, net.paths[SERVER], net.now)
    net.connect()
    lost, after = Talk(4000), Talk(4000)
    net.written[CLIENT].clear()
    net.send(SERVER, *[lost.packet(SERVER) for _ in range(5)])
    net.run(0.2)
    assert lost.heard(net.written[CLIENT]) == []
    assert net.counters[CLIENT].drops["duplicate"] == 5
    net.ends[CLIENT].restart(net.now)
    net.send(SERVER, *[after.packet(SERVER) for _ in range(5)])
    net.run(0.3)
    assert len(after.heard(net.written[CLIENT])) == 5
    # What the client numbers goes on, and the new server has nothing against it.
    again = Talk(4001)
    net.send(CLIENT, again.packet(CLIENT))
    net.run(0.4)
    assert again.heard(net.written[SERVER]) == [0]


def test_a_restart_loses_nothing_that_waits() -> None:
    net = Net(policy(spec(1), spec(2), classes=[_SPRAY]), {1: Link(), 2: Link(delay=(0.2, 0.2))})
    net.connect()
    bundle, talk = net.ends[CLIENT], Talk(4000)
    payloads = Sequencer().number(
        [b"\0" + talk.packet(SERVER) for _ in range(4)], [1], [4], 0, ordered=True, copy=False
    )
    bundle.accept(net.paths[CLIENT][1], payloads[:1], net.now)
    assert bundle.accept(net.paths[CLIENT][1], payloads[2:], net.now) == []
    bundle.restart(net.now)
    assert talk.heard([(net.now, frame) for frame in bundle.released()]) == [2, 3]


def test_the_mtu_is_the_least_of_the_paths_in_use() -> None:
    net = Net(policy(spec(1), spec(2)), {1: Link(), 2: Link()})
    bundle = net.ends[CLIENT]
    for number, size in ((1, 1400), (2, 1300)):
        net.paths[CLIENT][number].fit.mtu = size
    assert bundle.mtu is None
    net.connect(1)
    assert bundle.mtu == 1400
    net.connect(2)
    assert bundle.mtu == 1300
    net.disconnect(2)
    assert bundle.mtu == 1400


_OWN = (IPv4Interface("10.81.1.1/24"), IPv6Interface("fd00::1/64"))
_SIX = {"source": "2001:db8::2", "target": "2001:db8::3"}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("one", [TrafficClass("default", "balanced"), TrafficClass("default", "priority", copies=2)])
def test_ipv6_gets_through_beside_a_narrow_path(one: TrafficClass, end: int) -> None:
    net = Net(policy(spec(1), spec(2), classes=[one]), {1: Link(), 2: Link()}, _OWN)
    net.connect()
    packets = [Packet(bytes(200), UDP, ports=(port, port), **_SIX).complete() for port in range(4000, 4040)]
    net.send(end, *packets)
    for number, inner in ((1, 1400), (2, 1279)):
        net.fit(end, number, inner)
    net.send(end, *packets)
    net.run(0.5)
    assert len(net.written[1 - end]) == 80
    assert net.written[end] == []
    assert net.paths[end][2].counters.drops.total() == 0
    # With nothing else at hand it is refused as by a tunnel of one path.
    net.fit(end, 1, 1200)
    net.send(end, packets[0])
    (answer,) = [b"".join(frame) for _at, frame in net.written[end]]
    assert answer[40:42] == b"\x01\0", "no route"
    assert sum(path.counters.drops["ipv6_narrow"] for path in net.paths[end].values()) == one.copies


def test_a_copy_that_does_not_fit_is_dropped_without_a_word() -> None:
    """The packet went by its own path: its sender has no reason to make smaller ones."""
    copied = TrafficClass("default", "failover", copies=2)
    net = Net(policy(spec(1), spec(2), classes=[copied]), {1: Link(), 2: Link()}, _OWN)
    net.connect()
    large, small = [Packet(bytes(size), UDP).complete() for size in (1272, 100)]
    for number, inner in ((1, 1300), (2, 1250)):
        net.fit(CLIENT, number, inner)
    net.send(CLIENT, large, small)
    net.run(0.5)
    assert [b"".join(frame) for _at, frame in net.written[SERVER]] == [large, small]
    assert net.written[CLIENT] == []
    assert net.paths[CLIENT][2].counters.drops == {"too_big": 1}
    assert net.paths[CLIENT][2].counters.tx_packets == 1


def test_what_does_not_fit_is_answered_with_what_does() -> None:
    net = Net(policy(spec(1)), {1: Link()}, _OWN)
    net.connect()
    net.fit(CLIENT, 1, 1300)
    for version in ({}, _SIX):
        head = 48 if version else 28
        fits, exceeds = [Packet(bytes(size - head), UDP, **version).complete() for size in (1300, 1301)]
        net.send(CLIENT, fits)
        assert net.written[CLIENT] == []
        net.send(CLIENT, exceeds)
        ((_at, frame),) = net.written[CLIENT]
        answer = b"".join(frame)
        told = answer[44:48] if version else answer[26:28]
        assert int.from_bytes(told) == net.ends[CLIENT].mtu == 1300
        net.written[CLIENT].clear()


def test_paths_come_and_go() -> None:
    net = Net(policy(spec(1), spec(2)), {1: Link(), 2: Link(), 3: Link()})
    net.connect(1, 2)
    talk = Talk(4000)
    stream(net, CLIENT, talk, range(0, 3000, 5))

    def change() -> None:
        wanted = policy(spec(2), spec(3), generation=2)
        for end, bundle in enumerate(net.ends):
            paths = {2: net.paths[end][2], 3: net._path(spec(3))}
            net.paths[end] = paths
            bundle.configure(wanted, paths, net.now)
            assert bundle.paths == paths
            assert set(bundle.monitor._machines) == {2, 3}
        net.connect(3)

    net.at(1.0, change)
    net.run(3.5)
    heard = talk.heard(net.written[SERVER])
    assert len(heard) == len(set(heard)) >= 597
    assert net.ends[CLIENT].classes()[0].tx_packets == talk.sent == 600, "the class is the same"
    assert net.ends[CLIENT].deadline() < math.inf


def test_with_many_paths_and_classes_ranks_are_followed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time costs much then, and a peer can make ranks change."""
    specs = [spec(number) for number in range(1, 10)]
    classes = [TrafficClass(f"class{index}", "balanced") for index in range(16)]
    net = Net(policy(*specs, classes=classes), {number: Link() for number in range(1, 10)})
    bundle, seen = net.ends[CLIENT], []
    refresh = bundle._spreader.refresh

    def counted(now: float) -> None:
        seen.append(now)
        refresh(now)

    monkeypatch.setattr(bundle._spreader, "refresh", counted)
    net.run(1.0)
    net.connect()
    assert len(seen) == 1, "nine are connected at once"
    assert bundle.deadline() <= net.now + FOLLOW_AFTER
    net.run(1.0 + FOLLOW_AFTER)
    assert len(seen) == 2
    talks = [Talk(4000 + number) for number in range(200)]
    net.send(CLIENT, *[talk.packet(CLIENT) for talk in talks])
    assert all(path.counters.tx_packets for path in net.paths[CLIENT].values())
    net.run(1.2)
    net.disconnect(3)
    assert seen[-1] == net.now, "the first change after a while counts at once"
    net.send(CLIENT, *[talk.packet(CLIENT) for talk in talks])
    assert net.paths[CLIENT][3].counters.drops.total() == 0


def test_the_log_says_what_became_of_a_path() -> None:
    net = Net(policy(spec(1), spec(2, priority=1)), {1: Link(), 2: Link()})
    net.connect()
    net.run(0.5)
    net.disconnect(1, "the cable was pulled")
    told = [(change.state, change.reason, change.detail) for change in net.ends[CLIENT].changes()]
    assert ("path down", "the cable was pulled", "name=wan1") in told
    assert {("path up", "name=wan1"), ("path up", "name=wan2")} <= {(state, detail) for state, _why, detail in told}
    net.connect(1)
    net.run(12.0)
    told = [(change.state, change.reason, change.detail) for change in net.ends[CLIENT].changes()]
    assert [(state, detail) for state, _why, detail in told] == [
        ("path probation", "name=wan1"),
        ("path up", "name=wan1"),
    ]
