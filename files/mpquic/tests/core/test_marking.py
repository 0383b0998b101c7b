# SPDX-License-Identifier: GPL-3.0-or-later
"""What DSCP a datagram gets, and that marking changes nothing else."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.lane import Lane
from mpquic.core.marking import COPY, marking
from mpquic.core.types import Counters, Marked

if TYPE_CHECKING:
    from mpquic.core.connection import Connection
    from mpquic.core.types import Address, Datagram

PEER: Address = ("192.0.2.2", 45001)
EF = 46


class Wire:
    """A connection that takes up to ``window`` payloads and says ``due`` whenever it is asked."""

    def __init__(self, window: int = 1000, *, congestion_controlled: bool = False) -> None:
        self.window = window
        self.congestion_controlled = congestion_controlled
        self.due: list[bytes] = []
        self.calls: list[int] = []

    def seal(self, payloads: list[bytes], now: float) -> tuple[list[Datagram], int]:
        del now
        self.calls.append(len(payloads))
        taken = min(len(payloads), self.window)
        self.window -= taken
        due, self.due = self.due, []
        if payloads:
            # As a key update does.
            self.due = [b"ping"]
        return [(data, PEER) for data in (*payloads[:taken], *due)], taken


def sealed(dscp: int | str, payloads: list[bytes], wire: Wire, front: int = 1) -> tuple[list[Datagram], int]:
    made = marking(dscp, front=front)  # type: ignore[arg-type]
    assert made is not None
    return made.seal(payloads, cast("Connection", wire), 1.0)


def tos(datagram: Datagram) -> int:
    to = datagram[1]
    if isinstance(to, Marked):
        assert to.address == PEER
        assert to.tos
        return to.tos
    assert to == PEER
    return 0


def payload(octet: int, number: int = 0, *, v6: bool = False, front: int = 1) -> bytes:
    start = (0x6000 | octet << 4).to_bytes(2, "big") if v6 else bytes([0x45, octet])
    return bytes(front) + start + number.to_bytes(4, "big") + bytes(40)


def test_nothing_to_mark_is_the_plain_way() -> None:
    assert marking(0) is None
    assert Lane(Counters()).marking is None


@pytest.mark.parametrize("dscp", [1, EF, 63])
def test_one_mark_for_everything(dscp: int) -> None:
    wire = Wire()
    wire.due = [b"ack"]
    datagrams, taken = sealed(dscp, [payload(0), payload(0xB8)], wire)
    assert taken == 2
    assert [tos(datagram) for datagram in datagrams] == [dscp << 2] * 3
    made = marking(dscp)
    assert made is not None
    assert made.others([(b"hello", PEER)]) == [(b"hello", (PEER, dscp << 2))]


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("front", [0, 1])
def test_the_mark_of_the_packet_inside(front: int, *, v6: bool) -> None:
    wire = Wire()
    wire.due = [b"ack"]
    # EF with any ECN bits, then none, then LE.
    payloads = [payload(octet, v6=v6, front=front) for octet in (0xB8, 0xBB, 0x00, 0x03, 0x04)]
    datagrams, taken = sealed(COPY, payloads, wire, front)
    assert taken == 5
    said = [(data, tos(datagram)) for datagram in datagrams if (data := datagram[0])]
    assert [mark for data, mark in said if data in payloads] == [0xB8, 0xB8, 0, 0, 0x04]
    # What holds no packet is not marked.
    assert [mark for data, mark in said if data not in payloads] == [0] * 4
    assert marking(COPY).others([(b"hello", PEER)]) == [(b"hello", PEER)]  # type: ignore[union-attr]


@given(st.lists(st.tuples(st.sampled_from([0, 1, 0xB8, 0xB9, 0x20]), st.booleans()), max_size=20), st.integers(0, 20))
def test_copying_keeps_order_and_count(drawn: list[tuple[int, bool]], window: int) -> None:
    payloads = [payload(octet, number, v6=v6) for number, (octet, v6) in enumerate(drawn)]
    wire = Wire(window, congestion_controlled=True)
    datagrams, taken = sealed(COPY, payloads, wire)
    assert taken == min(window, len(payloads))
    carried = [(data, tos((data, to))) for data, to in datagrams if data != b"ping"]
    assert carried == [(data, octet & 0xFC) for data, (octet, _v6) in zip(payloads, drawn, strict=True)][:taken]
    # A call for each run of equal marks, and no packet of another beside it.
    runs = [len(list(run)) for _mark, run in groupby(drawn, lambda item: item[0] & 0xFC)]
    asked = [count for count in wire.calls if count]
    assert asked == runs[: len(asked)]


@given(st.lists(st.sampled_from([0, 1, 0xB8, 0xB9, 0x20]), max_size=20))
def test_copying_costs_a_call_for_each_mark(octets: list[int]) -> None:
    payloads = [payload(octet, number) for number, octet in enumerate(octets)]
    wire = Wire()
    datagrams, taken = sealed(COPY, payloads, wire)
    assert taken == len(payloads)
    carried = [(data, tos((data, to))) for data, to in datagrams if data != b"ping"]
    marks = list(dict.fromkeys(octet & 0xFC for octet in octets))
    # Packets of one mark stay in order.
    assert carried == [(data, mark) for mark in marks for data in payloads if data[2] & 0xFC == mark]
    assert len([count for count in wire.calls if count]) == len(marks)


def test_a_lane_hands_on_what_is_marked_and_counts_as_ever() -> None:
    counters = Counters()
    lane = Lane(counters)
    lane.marking = marking(EF)
    assert lane.others([(b"hello", PEER)]) == [(b"hello", (PEER, EF << 2))]
