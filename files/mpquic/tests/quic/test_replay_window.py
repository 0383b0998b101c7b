# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases that WireGuard's self-test of its replay window (counter.c) has, told for packet numbers of QUIC.

There the farthest number behind the largest that may still be new is COUNTER_WINDOW_SIZE away, here SIZE - 1. There
numbers end with REJECT_AFTER_MESSAGES, which the window itself refuses; a packet number beyond 2^62 - 1 cannot be
written (RFC 9000 section 12.3).
"""

from __future__ import annotations

import pytest
from mpquic.quic.window import SIZE, ReceiveWindow

#: How far behind the largest number a packet may come, and the first distance that is too far.
REACH = SIZE - 1
TOO_FAR = SIZE
LAST = 2**62 - 1


def passes(window: ReceiveWindow, number: int) -> bool:
    """Do what a receiver does: refuse what came before or is too old, note what is new."""
    if number in window:
        return False
    window.add(number)
    return True


def test_the_wire_s_usual_disorder() -> None:
    window = ReceiveWindow()
    assert [passes(window, number) for number in (0, 1, 1)] == [True, True, False]
    # A gap, filled from above.
    assert [passes(window, number) for number in (9, 8, 7, 7)] == [True, True, True, False]


def test_a_leap_as_far_as_the_window_reaches() -> None:
    window = ReceiveWindow()
    for number in (0, 1, 7, 8, 9):
        assert passes(window, number)
    assert passes(window, TOO_FAR)
    # Behind it there is still room for what has not come, down to the other end.
    assert [passes(window, TOO_FAR - back) for back in (1, 1, 2)] == [True, False, True]
    assert [passes(window, 2), passes(window, 2)] == [True, False]
    # A little further, and what was within reach is not.
    assert passes(window, TOO_FAR + 16)
    assert not passes(window, 3)
    assert not passes(window, TOO_FAR + 16)


def test_a_leap_over_more_than_the_window() -> None:
    window = ReceiveWindow()
    for number in (0, TOO_FAR, TOO_FAR + 16):
        assert passes(window, number)
    top = 4 * TOO_FAR
    assert passes(window, top)
    assert passes(window, top - REACH)
    assert not passes(window, 10)
    assert not passes(window, top - TOO_FAR)
    assert not passes(window, top - TOO_FAR - 1)
    assert passes(window, top - REACH + 1)
    assert not passes(window, top - REACH)
    assert not passes(window, 0)


def test_the_largest_numbers_there_are() -> None:
    window = ReceiveWindow()
    assert passes(window, 0)
    for number in (LAST, LAST - 1, LAST - 2):
        assert passes(window, number)
        assert not passes(window, number)
    assert not passes(window, LAST)
    assert not passes(window, 0)


@pytest.mark.parametrize("first", [0, 1])
def test_the_very_first_number_comes_last(first: int) -> None:
    window = ReceiveWindow()
    assert all(passes(window, number) for number in range(first + 1, first + REACH + 1))
    assert passes(window, first)
    assert not passes(window, 0)


@pytest.mark.parametrize("first", [0, 1])
def test_a_window_that_arrives_backwards(first: int) -> None:
    window = ReceiveWindow()
    assert all(passes(window, number) for number in range(first + REACH, first - 1, -1))
    assert not passes(window, 0)


def test_backwards_and_one_step_on() -> None:
    window = ReceiveWindow()
    assert all(passes(window, number) for number in range(REACH, 0, -1))
    assert passes(window, REACH + 1)
    assert not passes(window, 0)


def test_backwards_to_the_end_and_one_step_on() -> None:
    window = ReceiveWindow()
    assert all(passes(window, number) for number in range(REACH, 0, -1))
    assert passes(window, 0)
    assert passes(window, REACH + 1)
