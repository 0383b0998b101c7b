# SPDX-License-Identifier: GPL-3.0-or-later
"""Every decoder with its samples and some thousand inputs made of them; ``make fuzz`` feeds a million each."""

from __future__ import annotations

import pytest
from fuzzing import corpus
from fuzzing.decoders import DECODERS
from fuzzing.run import FoundError, run

SEED = 1


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_bear_what_is_thrown_at_them(name: str) -> None:
    kind = DECODERS[name]
    try:
        report = run(kind, kind.quick, SEED)
    except FoundError as error:
        pytest.fail(f"{error}: {[item.hex() for item in error.items]}")
    assert report.accepted > kind.quick // 100, "nothing gets deep"
    assert report.refused > kind.quick // 100, "nothing is refused"
    assert not report.grew
    assert all(report.notes[state] for state in kind.states), "a state of a connection is not reached"


def test_every_folder_of_samples_has_a_decoder() -> None:
    assert {path.name for path in corpus.FOLDER.iterdir()} == set(DECODERS)
