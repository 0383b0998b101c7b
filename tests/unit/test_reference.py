# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/reference is what the argument specs, the model of instance files and the command line make of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_is_what_its_sources_make_of_it() -> None:
    line = [sys.executable, ROOT / "scripts/make-reference", "--check"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
