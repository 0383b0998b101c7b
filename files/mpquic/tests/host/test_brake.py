# SPDX-License-Identifier: GPL-3.0-or-later
"""A repair that somebody undoes each time is done less and less often, and as before once it holds."""

from __future__ import annotations

from mpquic.host.brake import CALM, FREE, LONGEST, Brake


def test_the_first_repairs_are_free():
    brake = Brake()
    for turn in range(FREE - 1):
        assert brake.allows("rule", turn)
        assert brake.repaired("rule", turn) is None
    assert brake.next(FREE) is None


def test_a_fight_is_fought_ever_more_slowly():
    brake, now, repairs, pauses = Brake(), 0.0, 0, []
    while now < 600:
        if brake.allows("rule", now):
            repairs += 1
            pause = brake.repaired("rule", now)
            if pause is not None:
                pauses.append(pause)
        now += 0.01
    assert repairs < 25
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST]


def test_a_fight_over_one_thing_is_none_over_another():
    brake = Brake()
    for _ in range(FREE):
        brake.repaired("rule", 0)
    assert not brake.allows("rule", 0.5)
    assert brake.allows("route", 0.5)
    assert brake.next(0.5) == 1.0
    assert brake.allows("rule", 1.0)


def test_what_has_held_for_long_has_a_clean_slate():
    brake = Brake()
    for _ in range(FREE):
        brake.repaired("rule", 0)
    later = CALM + 1
    assert brake.repaired("rule", later) is None
    assert brake.allows("rule", later)
