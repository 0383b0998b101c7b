# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: the two ends of a tunnel, not started yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from multiwan import MultiWan
from wan import Wan, made

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def wan() -> Iterator[Wan]:
    with made(Wan()) as world:
        yield world


@pytest.fixture
def wans() -> Iterator[MultiWan]:
    with made(MultiWan()) as world:
        yield world


@pytest.fixture
def sixteen() -> Iterator[MultiWan]:
    with made(MultiWan(16)) as world:
        yield world
