# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Differentiated services code points, by number or name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

_NUMBERS = range(64)
# RFC 2474 section 4.2.2, RFC 2597 section 6, RFC 3246, RFC 5865, RFC 8622.
NAMES = {
    **{f"cs{n}": 8 * n for n in range(8)},
    **{f"af{group}{drop}": 8 * group + 2 * drop for group in range(1, 5) for drop in range(1, 4)},
    "le": 1,
    "va": 44,
    "ef": 46,
}


def text(number: int) -> str:
    """Return a code point as operators know it: its number, and its name if it has one."""
    name = next((name for name, value in NAMES.items() if value == number), None)
    return f"{name} ({number})" if name else str(number)


def read(value: object, where: str, problems: Problems, *, or_else: str = "") -> int | None:
    """Read a code point; ``or_else`` is what else the message says is allowed."""
    if isinstance(value, int) and not isinstance(value, bool) and value in _NUMBERS:
        return int(value)
    if isinstance(value, str) and value.lower() in NAMES:
        return NAMES[value.lower()]
    problems.unexpected(where, value, f"0 to 63 or one of cs0 to cs7, af11 to af43, ef, va, le{or_else}")
    return None
