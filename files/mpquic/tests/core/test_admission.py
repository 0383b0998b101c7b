# SPDX-License-Identifier: GPL-3.0-or-later
"""At the door: whom a server answers, when it asks for proof of an address, and what it never answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core import admission
from mpquic.core.admission import ACCEPT, NEGOTIATE, REPLACE, RETRY, Admission, source_of
from mpquic.core.connection import Retried
from mpquic.core.wire import LongHeader

INITIAL = LongHeader(1, b"12345678", b"client-1", initial=True)
PROVED = Retried(b"original", b"12345678")
HOST = "198.51.100.1"
SIZE = 1200
FULL = "half_open_full"


def host(number: int) -> str:
    return f"198.{number >> 16}.{number >> 8 & 255}.{number & 255}"


class Door:
    """An Admission, asked in short."""

    def __init__(self) -> None:
        self.admission = Admission()
        self.now = 100.0
        #: Seconds before each: none where the rate is what is asked about.
        self.pause = 0.0

    def ask(
        self,
        where: str = HOST,
        *,
        header: LongHeader = INITIAL,
        size: int = SIZE,
        retried: Retried | None = None,
        enter: bool = False,
    ) -> str:
        self.now += self.pause
        verdict = self.admission.judge(header, size, where, retried, self.now)
        if enter and verdict == ACCEPT:
            self.admission.enter(where)
        return verdict

    def fill(self, count: int, start: int = 0) -> None:
        """Let half-open connections in, each from another address that is proved."""
        for number in range(start, start + count):
            assert self.ask(host(number), retried=PROVED, enter=True) == ACCEPT


@pytest.fixture
def door() -> Door:
    return Door()


def test_in_calm_an_initial_is_enough(door: Door) -> None:
    assert door.ask() == ACCEPT
    assert door.ask(retried=PROVED) == ACCEPT


@pytest.mark.parametrize(
    ("header", "size", "verdict"),
    [
        (INITIAL, 1199, "initial_small"),
        (INITIAL, 1200, ACCEPT),
        (INITIAL, 65507, ACCEPT),
        (replace(INITIAL, initial=False), 1200, "unknown_connection"),
        (replace(INITIAL, destination=bytes(7)), 1200, "malformed"),
        (replace(INITIAL, destination=bytes(8)), 1200, ACCEPT),
        (replace(INITIAL, destination=bytes(20)), 1200, ACCEPT),
        (replace(INITIAL, destination=bytes(21)), 1200, "malformed"),
        (replace(INITIAL, destination=b""), 1200, "malformed"),
        *[(replace(INITIAL, source=bytes(size)), 1200, ACCEPT) for size in (0, 7, 9, 20)],
        (replace(INITIAL, source=bytes(21)), 1200, "malformed"),
        # RFC 9000 section 6.1 and RFC 8999 section 6.
        (replace(INITIAL, version=2, initial=False), 1199, "version"),
        (replace(INITIAL, version=2, initial=False), 1200, NEGOTIATE),
        (replace(INITIAL, version=2, initial=False, destination=bytes(255), source=b""), 1200, NEGOTIATE),
        (replace(INITIAL, version=0, initial=False), 1200, "version"),
        (replace(INITIAL, version=0x6B3343CF, initial=False), 1200, NEGOTIATE),
        (replace(INITIAL, version=0xFFFFFFFF, initial=False), 1200, NEGOTIATE),
    ],
)
def test_what_may_begin_a_connection(door: Door, header: LongHeader, size: int, verdict: str) -> None:
    assert door.ask(header=header, size=size) == verdict
    proved = door.ask(header=header, size=size, retried=PROVED)
    assert proved == verdict


def test_initials_that_come_fast_have_to_prove_their_address(door: Door) -> None:
    verdicts = [door.ask(host(number)) for number in range(80)]
    assert verdicts == [ACCEPT] * 50 + [RETRY] * 30
    assert door.ask("203.0.113.1", retried=PROVED) == ACCEPT
    # Fifty a second are let through without proof.
    door.now += 0.125
    assert [door.ask(host(number)) for number in range(8)] == [ACCEPT] * 6 + [RETRY] * 2
    door.now += 100.0
    assert [door.ask(host(number)) for number in range(60)] == [ACCEPT] * 50 + [RETRY] * 10


def test_when_many_are_half_open_addresses_have_to_be_proved(door: Door) -> None:
    door.fill(admission.RETRY_HALF_OPEN - 1)
    assert door.ask() == ACCEPT
    door.fill(1, start=1000)
    assert door.ask() == RETRY
    assert door.ask(retried=PROVED) == ACCEPT
    door.admission.leave(host(1000))
    door.now += 1.0
    assert door.ask() == ACCEPT


def test_retries_have_a_limit(door: Door) -> None:
    door.fill(admission.RETRY_HALF_OPEN)
    verdicts = [door.ask(host(number)) for number in range(300)]
    assert verdicts == [RETRY] * 200 + ["retry_limit"] * 100
    assert door.ask(retried=PROVED) == ACCEPT
    passed = 0
    for _step in range(1024):
        door.now += 1 / 1024
        passed += sum(door.ask(host(number)) == RETRY for number in range(4))
    assert passed == pytest.approx(admission.MAX_RETRIES, abs=2)


def test_version_negotiations_have_a_limit(door: Door) -> None:
    other = replace(INITIAL, version=2, initial=False)
    assert [door.ask(header=other) for _ in range(20)] == [NEGOTIATE] * 10 + ["version"] * 10
    # It is their own: nobody who speaks version 1 is held up.
    assert door.ask() == ACCEPT
    door.now += 0.5
    assert [door.ask(header=other) for _ in range(7)] == [NEGOTIATE] * 5 + ["version"] * 2
    # What gets no answer anyway costs none.
    door.now += 100.0
    for _ in range(20):
        assert door.ask(header=other, size=1199) == door.ask(header=replace(other, version=0)) == "version"
    assert [door.ask(header=other) for _ in range(11)] == [NEGOTIATE] * 10 + ["version"]


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (["198.51.100.1"] * 8, "198.51.100.2"),
        ([f"2001:db8:1:2:{number:x}::1" for number in range(8)], "2001:db8:1:3::1"),
        ([f"fe80::{number:x}%eth{number % 2}" for number in range(8)], "2001:db8::1"),
    ],
)
def test_a_source_has_few_half_open_connections(door: Door, same: list[str], other: str) -> None:
    assert len(same) == admission.MAX_HALF_OPEN_PER_SOURCE
    for where in same:
        assert door.ask(where, enter=True) == ACCEPT
    assert door.ask(same[0]) == door.ask(same[-1]) == RETRY
    assert door.ask(other) == ACCEPT
    door.admission.leave(same[3])
    assert door.ask(same[0], enter=True) == ACCEPT
    assert door.ask(same[0]) == RETRY
    # Whoever proves to be there is not held up by those who only say so.
    for where in same:
        assert door.ask(where, retried=PROVED, enter=True) == ACCEPT
    assert door.ask(same[0], retried=PROVED) == FULL
    assert door.ask(same[0]) == RETRY
    assert door.ask(other) == RETRY
    assert door.ask(other, retried=PROVED) == ACCEPT


def test_a_server_has_a_limited_number_of_half_open_connections(door: Door) -> None:
    door.pause = 1.0
    door.fill(admission.MAX_HALF_OPEN)
    assert door.ask(retried=PROVED) == REPLACE
    # Who proves no address is asked to, and is none the wiser.
    assert door.ask() == RETRY
    door.admission.leave(host(7))
    assert door.ask(retried=PROVED) == ACCEPT


def test_of_a_full_house_those_with_the_most_places_give_one(door: Door) -> None:
    door.pause = 1.0
    door.fill(admission.MAX_HALF_OPEN - 5)
    for greedy in (host(9), host(9), host(3), host(3), host(3)):
        assert door.ask(greedy, retried=PROVED, enter=True) == ACCEPT
    assert door.admission.greediest() == host(3)
    assert door.ask(HOST, retried=PROVED) == REPLACE
    # Whoever has as many as anybody gets no more.
    assert door.ask(host(3), retried=PROVED) == FULL
    assert door.ask(host(9), retried=PROVED) == REPLACE
    door.admission.leave(host(3))
    assert door.admission.greediest() == host(3)
    door.admission.leave(host(3))
    assert door.admission.greediest() == host(9)
    door.fill(2, start=admission.MAX_HALF_OPEN)
    assert door.ask(host(9), retried=PROVED) == FULL


def test_of_equals_the_first_gives_its_place(door: Door) -> None:
    door.pause = 1.0
    door.fill(admission.MAX_HALF_OPEN)
    assert door.admission.greediest() == host(0)
    assert door.ask(host(1), retried=PROVED) == FULL


def test_those_who_were_here_before_are_not_held_up(door: Door) -> None:
    door.pause = 1.0
    for where in (HOST, "2001:db8:1:2::9"):
        assert door.ask(where, enter=True) == ACCEPT
        door.admission.leave(where, familiar=True)
    door.fill(admission.MAX_HALF_OPEN)
    assert door.ask(HOST, retried=PROVED, enter=True) == ACCEPT
    assert door.ask("2001:db8:1:2:3::4", retried=PROVED) == ACCEPT
    # They prove their address like everybody else, and have no more half-open connections than they.
    assert door.ask(HOST) == RETRY
    for _ in range(15):
        assert door.ask(HOST, retried=PROVED, enter=True) == ACCEPT
    assert door.ask(HOST, retried=PROVED) == FULL
    assert door.ask("203.0.113.9", retried=PROVED) == REPLACE


def test_a_proved_address_begins_few_handshakes_a_second(door: Door) -> None:
    source, other = HOST, "198.51.100.2"
    few = int(admission.HANDSHAKES_PER_SOURCE)
    assert [door.ask(source, retried=PROVED) for _ in range(few + 3)] == [ACCEPT] * few + ["handshake_limit"] * 3
    # Forgeries of an address cost it nothing.
    for _ in range(30):
        door.ask(other)
    assert [door.ask(other, retried=PROVED) for _ in range(few)] == [ACCEPT] * few
    door.now += 1.0
    assert door.ask(source, retried=PROVED) == ACCEPT


def test_many_proved_addresses_do_not_slow_newcomers(door: Door) -> None:
    sources = [host(number) for number in range(20)]
    verdicts = [door.ask(source, retried=PROVED) for _ in range(16) for source in sources]
    assert verdicts.count(ACCEPT) == int(admission.HANDSHAKES)
    assert set(verdicts) == {ACCEPT, "handshake_limit"}
    assert door.ask("203.0.113.9", retried=PROVED) == ACCEPT
    assert door.ask("203.0.113.9", retried=PROVED) == "handshake_limit"


def test_a_known_address_begins_as_many_while_strangers_flood(door: Door) -> None:
    door.ask(enter=True)
    door.admission.leave(HOST, familiar=True)
    for number in range(int(admission.HANDSHAKES)):
        assert door.ask(host(number), retried=PROVED) == ACCEPT
    few = int(admission.HANDSHAKES_PER_SOURCE)
    assert [door.ask(HOST, retried=PROVED) for _ in range(few + 1)] == [ACCEPT] * few + ["handshake_limit"]


def test_sources_are_counted_in_bounded_memory(door: Door) -> None:
    for number in range(admission.MAX_SOURCES + 50):
        door.ask(host(number), retried=PROVED)
    assert len(door.admission._by_source) == admission.MAX_SOURCES


def test_leaving_alone_makes_nobody_familiar(door: Door) -> None:
    assert door.ask(enter=True) == ACCEPT
    door.admission.leave(HOST)
    door.fill(admission.MAX_HALF_OPEN)
    assert door.ask(retried=PROVED) == REPLACE


def test_the_last_familiar_sources_are_remembered(door: Door) -> None:
    last = admission.MAX_FAMILIAR + 9
    # The very first comes again before it is forgotten.
    for number in [*range(admission.MAX_FAMILIAR), 0, *range(admission.MAX_FAMILIAR, last + 1)]:
        door.admission.enter(host(number))
        door.admission.leave(host(number), familiar=True)
    assert len(door.admission._familiar) == admission.MAX_FAMILIAR
    for number in range(admission.MAX_HALF_OPEN):
        door.admission.enter(f"203.0.{number}.1")
    for number, verdict in ((0, ACCEPT), (1, REPLACE), (10, REPLACE), (11, ACCEPT), (last, ACCEPT)):
        assert door.ask(host(number), retried=PROVED) == verdict


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=300))
def test_books_are_straight(steps: list[tuple[int, bool]]) -> None:
    door, inside = Door(), []
    for number, leaving in steps:
        where = host(number) if number < 20 else f"2001:db8::{number:x}"
        if leaving and inside:
            door.admission.leave(inside.pop(number % len(inside)), familiar=number == 3)
        else:
            verdict = door.ask(where, retried=PROVED, enter=True)
            count = sum(source_of(each) == source_of(where) for each in inside)
            assert verdict == (FULL if count >= 2 * admission.MAX_HALF_OPEN_PER_SOURCE else ACCEPT)
            if verdict == ACCEPT:
                inside.append(where)
        assert door.admission._total == len(inside)
        assert door.admission._half_open.total() == len(inside)
        assert len(door.admission._half_open) == len(set(map(source_of, inside)))


def test_asking_leaves_nothing_behind(door: Door) -> None:
    for number in range(5000):
        door.ask(host(number))
        door.ask(f"2001:db8:{number:x}::1", retried=PROVED)
        door.now += 0.001
    assert not door.admission._half_open
    assert not door.admission._familiar


def test_sources() -> None:
    assert source_of("198.51.100.1") == "198.51.100.1"
    assert source_of("2001:db8:1:2:3:4:5:6") == source_of("2001:db8:1:2::") == source_of("2001:db8:1:2:ffff::1%7")
    assert source_of("2001:db8:1:2::") != source_of("2001:db8:1:3::")
