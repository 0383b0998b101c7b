# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets are made as in the tests of the core."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "core"))
