# SPDX-License-Identifier: GPL-3.0-or-later
"""What every exchange needs: identities, and a peer that is built or a word why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from foreign import HERE, Party, Stack

if TYPE_CHECKING:
    from pathlib import Path

#: Exit status of ``prepare`` where a peer cannot be had (sysexits.h EX_UNAVAILABLE).
UNAVAILABLE = 69


def _party(folder: Path) -> Party:
    command = [sys.executable, "-m", "mpquic", "identity", "ensure", "--dir", str(folder), "--owner", "root", "--json"]
    made = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return Party(folder, json.loads(made.stdout)["fingerprint"])


@pytest.fixture(scope="session")
def us(tmp_path_factory: pytest.TempPathFactory) -> Party:
    """Return our identity."""
    return _party(tmp_path_factory.mktemp("us") / "identity")


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Party:
    """Return the peer's identity."""
    return _party(tmp_path_factory.mktemp("peer") / "identity")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Party:
    """Return an identity that nobody knows."""
    return _party(tmp_path_factory.mktemp("stranger") / "identity")


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Stack:
    """Return the stack of the test's parameter, ready to run; where it cannot be had, skip, and fail in CI."""
    stack: Stack = request.param
    done = subprocess.run([HERE / "prepare", stack.name], check=False, capture_output=True, text=True, timeout=600)
    reason = f"no {stack.name} to talk to: {done.stderr.strip()}"
    if done.returncode == UNAVAILABLE and os.environ.get("CI") != "true":
        pytest.skip(reason)
    if done.returncode:
        pytest.fail(reason, pytrace=False)
    return stack
