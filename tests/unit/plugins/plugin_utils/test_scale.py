# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner on a large site."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[4] / "scripts" / "scale.py"


def test_a_large_site_is_planned_in_seconds(capsys):
    spec = importlib.util.spec_from_file_location("scale", SCRIPT)
    scale = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scale)
    assert scale.main(["120"]) == 0
    # Tunnels and classes at the clients, tunnels and the instances that links share at three VPSs.
    assert f"{120 * (6 + 6 * 3) + 120 * 6 + 3 * 6} instances" in capsys.readouterr().out
