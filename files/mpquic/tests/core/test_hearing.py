# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server does with a flow that its client sends: the same class, and the same path."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.multipath.health import State
from mpquic.core.multipath.policy import Rule, TrafficClass
from packets import Packet
from spreading import BALANCED, End, flows

SENT = Packet(tos=46 << 2)
ANSWER = Packet(source="10.81.2.2", target="10.81.1.2", ports=(443, 40000))
CRITICAL = TrafficClass("critical", "failover")


def server(*classes: TrafficClass, **weights: int) -> End:
    return End({1: 1, 2: 1, 3: 1}, *(classes or (BALANCED, CRITICAL)), turned=True)


def hear(end: End, packet: Packet, class_index: int, path: int, now: float) -> None:
    end.hear(bytes(packet), class_index, path, now)


def elsewhere(end: End, number: int) -> int:
    return next(n for n in end.paths if n != number)


def test_answers_get_the_class_that_the_client_chose() -> None:
    end = server()
    assert end.share(ANSWER, 1.0).flow.class_index == 0
    hear(end, SENT, 1, 1, 1.1)
    # Whatever their own mark is.
    assert [end.share(packet, 1.2).flow.class_index for packet in (ANSWER, replace(ANSWER, tos=46 << 2))] == [1, 1]
    hear(end, SENT, 0, 1, 1.3)
    assert end.share(ANSWER, 1.4).flow.class_index == 0
    assert end.share(replace(ANSWER, ports=(443, 40001)), 1.4).flow.class_index == 0


def test_marks_tell_classes_apart_where_there_are_no_ports() -> None:
    end = server()
    urgent, other = Packet(protocol=1, tos=46 << 2), Packet(protocol=1)
    hear(end, urgent, 1, 1, 1.0)
    hear(end, other, 0, 1, 1.0)
    answers = [replace(each, source=each.target, target=each.source) for each in (urgent, other)]
    assert [end.share(answer, 1.1).flow.class_index for answer in answers] == [1, 0]


def test_a_rule_holds_until_the_client_is_heard() -> None:
    end = End({1: 1}, BALANCED, CRITICAL, rules=[Rule(1, destination_ports=((443, 443),))], turned=True)
    assert end.share(ANSWER, 1.0).flow.class_index == 1
    hear(end, SENT, 0, 1, 1.1)
    assert end.share(ANSWER, 1.2).flow.class_index == 0
    # With a new policy what was heard means nothing.
    end.spreader.configure(end.policy, end.paths, 1.3)
    assert end.share(ANSWER, 1.4).flow.class_index == 1
    hear(end, SENT, 0, 1, 1.5)
    assert end.share(ANSWER, 1.6).flow.class_index == 0


def test_a_class_that_there_is_not_is_not_heard() -> None:
    end = server()
    hear(end, SENT, 2, 1, 1.0)
    assert end.share(ANSWER, 1.1).flow.class_index == 0


def test_answers_go_where_the_client_sends() -> None:
    end = server(BALANCED)
    for packet in flows(30):
        answer = replace(packet, source=packet.target, target=packet.source, ports=packet.ports[::-1])
        (hashed,) = end.numbers(answer, 1.0)
        other = elsewhere(end, hashed)
        hear(end, packet, 0, other, 1.1)
        share = end.share(answer, 1.2)
        assert [path.number for path in share.paths] == [other]
        assert share.ordered
        # Not where it is worse than others.
        end.set(other, State.LOSSY, 1.3)
        assert end.numbers(answer, 1.4) == (hashed,)
        end.set(other, State.UP, 1.5)
        assert end.numbers(answer, 1.6) == (other,)


def test_late_packets_of_the_old_path_do_not_confuse() -> None:
    end = server(BALANCED)
    hear(end, SENT, 0, 1, 1.0)
    assert end.numbers(ANSWER, 1.01) == (1,)
    for number, now in ((2, 1.02), (1, 1.05), (2, 1.10), (1, 1.14), (2, 1.15), (2, 1.2)):
        hear(end, SENT, 0, number, now)
        assert end.numbers(ANSWER, now) == (1,)
    hear(end, SENT, 0, 2, 1.26)
    assert end.numbers(ANSWER, 1.26) == (2,)


def test_copies_come_by_any_path_and_move_nothing() -> None:
    for one in (TrafficClass("default", "balanced", copies=2), TrafficClass("default", "balanced", spray=True)):
        end = server(one)
        before = end.numbers(ANSWER, 1.0)
        for place, number in enumerate((3, 3, 2, 2, 1, 1)):
            hear(end, SENT, 0, number, 2.0 + place)
            assert end.numbers(ANSWER, 2.1 + place) == before


@given(st.binary(max_size=80), st.integers(0, 15))
def test_any_bytes(data: bytes, class_index: int) -> None:
    end = server()
    for now in (1.0, 1.1, 1.3):
        end.hear(data, class_index, 1 + int(10 * now) % 3, now)


def test_what_was_heard_is_bounded() -> None:
    end = server()
    for number in range(6000):
        hear(end, replace(SENT, ports=(1 + number, 443)), 1, 1, 1.0)
    table = end.spreader._table
    assert len(table) == len(table.ears) == 4096
    # One that speaks all the time stays.
    kept = end.share(ANSWER, 1.9).flow
    for number in range(6000):
        hear(end, replace(SENT, ports=(1 + number, 80)), 1, 1, 2.0)
        hear(end, SENT, 1, 1, 2.0)
    assert end.share(ANSWER, 3.0).flow is kept
