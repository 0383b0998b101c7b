# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets and links are made as in the tests of the core and of QUIC."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("core", "quic")]
