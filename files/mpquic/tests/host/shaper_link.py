# SPDX-License-Identifier: GPL-3.0-or-later
"""The link that the tests of the shaper shape."""

from __future__ import annotations

from typing import Any

#: As in a shaper file: a critical class, a bulk class and the rest.
LINK: dict[str, Any] = {
    "name": "mt1",
    "on": "if:wan7",
    "rate": 20_000_000,
    "inner": 0x100,
    "default": True,
    "classes": [
        {"name": "cr5", "minor": 0x101, "priority": 0, "share": 30},
        {"name": "bk5", "minor": 0x102, "priority": 2, "share": 65},
        {"name": "rest", "minor": 0x1FF, "priority": 7, "share": 5},
    ],
}
