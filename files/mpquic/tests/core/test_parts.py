# SPDX-License-Identifier: GPL-3.0-or-later
"""The small parts of the core, each alone."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core import inner, wire
from mpquic.core.ackclock import AckClock
from mpquic.core.backoff import Backoff
from mpquic.core.liveness import CLIENT_SILENCE, KEEPALIVE, Liveness, Verdict


def ipv4(size: int = 84) -> bytes:
    return b"\x45\x00" + size.to_bytes(2, "big") + bytes(size - 4)


def ipv6(size: int = 84) -> bytes:
    return b"\x60\x00\x00\x00" + (size - 40).to_bytes(2, "big") + bytes(size - 6)


def test_backoff_doubles_to_its_cap_and_starts_again() -> None:
    backoff = Backoff(0.25, 30.0, lambda: 1.0)
    assert [backoff.next() for _ in range(9)] == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next() == 0.25
    assert backoff.failures == 1


def test_backoff_may_wait_longer_once() -> None:
    backoff = Backoff(0.25, 3.0, lambda: 1.0)
    assert [backoff.next() for _ in range(7)][-1] == 3.0
    assert backoff.next(30.0) == 30.0
    assert backoff.next() == 3.0


def test_backoff_is_drawn_from_the_whole_range() -> None:
    draws = iter([0.5, 0.0, 0.25, 0.75])
    backoff = Backoff(1.0, 30.0, lambda: next(draws))
    assert [backoff.next() for _ in range(4)] == [0.5, 0.0, 1.0, 6.0]


@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=2000))
def test_backoff_never_leaves_its_range(numbers: list[float]) -> None:
    source = iter(numbers)
    backoff = Backoff(0.25, 30.0, lambda: next(source))
    assert all(0 <= backoff.next() <= 30 for _ in numbers)


@pytest.mark.parametrize(
    ("data", "value"),
    [("c2197c5eff14e88c", 151288809941952652), ("9d7f3e7d", 494878333), ("7bbd", 15293), ("25", 37), ("4025", 37)],
)
def test_varint_examples_of_rfc_9000_appendix_a(data: str, value: int) -> None:
    raw = bytes.fromhex(data)
    assert wire.varint(raw + b"rest") == (value, len(raw))
    assert wire.varint(raw[:-1])[1] == 0


def test_contexts() -> None:
    drops: Counter[str] = Counter()
    packet = ipv4()
    assert wire.unwrap([*wire.wrap([packet]), b"\x40\x00" + packet], drops, lambda body: None) == [packet, packet]
    assert not drops
    assert wire.unwrap([b"\x02" + packet, b"\x04", b"", b"\x80\x00", b"\xc0"], drops, lambda body: None) == []
    assert drops == {"context": 2, "malformed": 3}


@given(st.binary(max_size=64))
def test_headers_of_any_bytes(data: bytes) -> None:
    header = wire.long_header(data)
    assert header is None or (len(header.destination) <= 255 and data[0] & 0x80)
    wire.is_short(data)
    wire.varint(data)


def test_long_header() -> None:
    data = b"\xc3\x00\x00\x00\x01\x08destcid8\x04srcX\x05tokenpayload"
    header = wire.long_header(data)
    assert header == wire.LongHeader(1, b"destcid8", b"srcX", initial=True, token=b"token")
    # Cut off anywhere before the end of the token it is none; the token's length may take up to eight bytes.
    assert [wire.long_header(data[:size]) for size in range(25)] == [None] * 25
    assert wire.long_header(data[:25]) == header
    assert wire.long_header(data[:19] + b"\xc0" + bytes(6) + b"\x05token") == header
    assert wire.long_header(data[:19] + b"\xc0" + bytes(6) + b"\x06token") is None
    # Only an Initial of version 1 has a token.
    handshake = wire.long_header(b"\xe3" + data[1:19])
    assert handshake == wire.LongHeader(1, b"destcid8", b"srcX")
    other = wire.long_header(data[:4] + b"\x02" + data[5:19])
    assert other == wire.LongHeader(2, b"destcid8", b"srcX")


@pytest.mark.parametrize(
    ("packet", "fault"),
    [
        (ipv4(), None),
        (ipv4(20), None),
        (ipv6(), None),
        (ipv6(40), None),
        (b"", "inner_short"),
        (b"\x45" * 19, "inner_short"),
        (ipv6(40)[:39], "inner_short"),
        (b"\x4f" + ipv4(24)[1:], "inner_short"),
        (b"\x44" + ipv4()[1:], "inner_version"),
        (b"\x55" + ipv4()[1:], "inner_version"),
        (bytes(84), "inner_version"),
        (ipv4() + b"x", "inner_length"),
        (ipv4()[:-1], "inner_length"),
        (ipv6() + b"x", "inner_length"),
    ],
)
def test_inner_packets(packet: bytes, fault: str | None) -> None:
    drops: Counter[str] = Counter()
    assert inner.valid([packet], drops) == ([packet] if fault is None else [])
    assert dict(drops) == ({} if fault is None else {fault: 1})


@given(st.lists(st.binary(max_size=100)))
def test_inner_of_any_bytes(packets: list[bytes]) -> None:
    drops: Counter[str] = Counter()
    assert len(inner.valid(packets, drops)) + drops.total() == len(packets)


def _liveness(srtt: float | None = None) -> tuple[AckClock, Liveness]:
    clock = AckClock()
    clock.srtt = srtt
    clock.restart(0.0)
    return clock, Liveness(clock, silence=CLIENT_SILENCE, keepalive=KEEPALIVE)


def test_keepalive_only_when_nothing_was_sent() -> None:
    clock, liveness = _liveness()
    assert liveness.deadline() == KEEPALIVE
    assert liveness.check(4.99) is Verdict.FINE
    clock.sent(4.0)
    clock.acked(4.1)
    assert liveness.check(5.0) is Verdict.FINE
    assert liveness.check(9.0) is Verdict.PROBE
    assert liveness.deadline() == 14.0


def test_silence_with_something_outstanding() -> None:
    clock, liveness = _liveness()
    clock.sent(10.0)
    assert liveness.check(10.1) is Verdict.FINE
    assert liveness.check(10.25) is Verdict.PROBE
    assert liveness.check(10.26) is Verdict.FINE
    assert liveness.check(11.49) is Verdict.PROBE
    assert liveness.check(11.5) is Verdict.DEAD


def test_sending_more_does_not_prolong_silence() -> None:
    clock, liveness = _liveness()
    for step in range(150):
        clock.sent(10.0 + step / 100)
    clock.lost(100)
    assert liveness.check(11.5) is Verdict.DEAD


def test_an_ack_starts_silence_anew_and_the_last_one_ends_it() -> None:
    clock, liveness = _liveness()
    clock.sent(10.0)
    clock.sent(10.0)
    clock.acked(11.4)
    assert liveness.check(12.89) is not Verdict.DEAD
    assert liveness.check(12.9) is Verdict.DEAD
    clock.acked(12.6)
    assert clock.pending_since is None
    assert liveness.check(17.0) is not Verdict.DEAD


def test_long_round_trips_get_more_patience() -> None:
    clock, liveness = _liveness(srtt=0.6)
    clock.sent(0.0)
    assert liveness.check(0.85) is Verdict.FINE
    assert liveness.check(3.5) is not Verdict.DEAD
    assert liveness.check(3.6) is Verdict.DEAD


def test_a_refused_port_is_only_a_hint() -> None:
    clock, liveness = _liveness(srtt=0.02)
    clock.sent(1.0)
    liveness.refused(1.01)
    assert liveness.check(1.2) is not Verdict.DEAD
    assert liveness.check(1.31) is Verdict.DEAD
    clock.acked(1.25)
    assert liveness.check(1.31) is Verdict.FINE
    clock.sent(1.4)
    assert liveness.check(2.0) is not Verdict.DEAD


def test_discarded_keys_owe_no_answer() -> None:
    clock, liveness = _liveness()
    clock.sent(1.0)
    clock.expired(1)
    assert clock.pending_since is None
    assert liveness.deadline() < math.inf


def test_nothing_is_owed_once_the_rest_was_given_up() -> None:
    clock = AckClock()
    clock.sent(1.0, 2)
    clock.acked(2.0)
    assert clock.pending_since == 2.0
    clock.lost(1)
    assert clock.pending_since is None
