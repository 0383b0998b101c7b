# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan is done whole or not at all."""

from __future__ import annotations

import pytest
from mpquic.host.errors import HostError
from mpquic.host.steps import Step, apply


def step(log, name, *, fails=False, stuck=False):
    def do(_):
        if fails:
            raise HostError("refused")
        log.append(f"do {name}")

    def undo(_):
        if stuck:
            raise OSError(16, "Device or resource busy")
        log.append(f"undo {name}")

    return Step(name, do, undo)


def test_steps_are_done_in_order():
    log = []
    apply(None, [step(log, "a"), step(log, "b")])
    assert log == ["do a", "do b"]


def test_a_failure_undoes_what_was_done_last_first():
    log = []
    with pytest.raises(HostError, match=r"^c: refused$"):
        apply(None, [step(log, "a"), step(log, "b"), step(log, "c", fails=True), step(log, "d")])
    assert log == ["do a", "do b", "undo b", "undo a"]


def test_what_cannot_be_undone_is_told_and_does_not_stop_the_rest():
    log = []
    with pytest.raises(HostError, match=r"^c: refused \(could not undo: b\)$"):
        apply(None, [step(log, "a"), step(log, "b", stuck=True), step(log, "c", fails=True)])
    assert log == ["do a", "do b", "undo a"]
