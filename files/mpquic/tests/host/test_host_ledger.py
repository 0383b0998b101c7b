# SPDX-License-Identifier: GPL-3.0-or-later
"""What a timed recovery remembers: longer and longer waits, and nothing that somebody else made up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from mpquic.host import ledger
from mpquic.host.errors import HostError
from mpquic.host.ledger import LONGEST, Ledger, alone

if TYPE_CHECKING:
    from pathlib import Path


def test_waits_double_up_to_half_an_hour(tmp_path: Path) -> None:
    moment, waits = 1000.0, []
    for _restart in range(8):
        book = Ledger(tmp_path, moment)
        assert book.wait("4") == 0
        book.restarted("4")
        waits.append(book.wait("4"))
        book.save({"4"})
        assert Ledger(tmp_path, moment + waits[-1] - 1).wait("4") == 1
        moment += waits[-1]
    assert [wait / 60 for wait in waits] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert Ledger(tmp_path, moment).restarts("4") == 8


def test_an_instance_that_is_healthy_again_begins_anew(tmp_path: Path) -> None:
    book = Ledger(tmp_path, 10)
    book.restarted("4")
    book.restarted("4")
    book.restarted("5")
    book.healthy("4")
    book.save({"4", "5"})
    later = Ledger(tmp_path, 20)
    assert (later.wait("4"), later.restarts("4")) == (0, 0)
    assert (later.wait("5"), later.restarts("5")) == (50, 1)


def test_instances_that_are_no_more_are_forgotten(tmp_path: Path) -> None:
    book = Ledger(tmp_path, 10)
    book.restarted("4")
    book.save({"5"})
    assert Ledger(tmp_path, 10).wait("4") == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 60000,
        b"[]",
        b'{"4": 1}',
        b'{"4": ["x", 1]}',
        b'{"4": [1, 2, 3]}',
        b'{"4": [0, 50]}',
        b'{"4": [1000000, 50]}',
        b'{"4": [1, NaN]}',
        b'{"4": [1, Infinity]}',
        b'{"4": [1, 1e300]}',
        json.dumps({"4": [1, 10 + LONGEST + 1]}).encode(),
        b'{"x": "' + b"y" * 100000 + b'"}',
    ],
)
def test_bad_content_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "restarts.json").write_bytes(content)
    book = Ledger(tmp_path, 10)
    assert (book.wait("4"), book.restarts("4")) == (0, 0)
    book.restarted("4")
    book.save({"4"})
    assert Ledger(tmp_path, 10).wait("4") == 60


def test_there_is_one_recovery_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with alone(folder) as first, alone(folder) as second:
        assert (first, second) == (True, False)
    with alone(folder) as third:
        assert third


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="expected a folder"), alone(tmp_path / "file"):
        pass


def test_the_clock_counts_on() -> None:
    assert 0 < ledger.now() <= ledger.now()
