# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: the two ends of a tunnel, not started yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from multiwan import MultiWan
from wan import Wan

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def wan() -> Iterator[Wan]:
    world = Wan()
    try:
        world.make()
        yield world
    finally:
        world.close()


@pytest.fixture
def wans() -> Iterator[MultiWan]:
    world = MultiWan()
    try:
        world.make()
        yield world
    finally:
        world.close()


@pytest.fixture
def sixteen() -> Iterator[MultiWan]:
    world = MultiWan(16)
    try:
        world.make()
        yield world
    finally:
        world.close()
