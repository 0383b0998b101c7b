# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What a match of packets takes, in the words of the inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_ORDER = (
    "lan",
    "protocol",
    "src",
    "src_cidrs",
    "dst",
    "dst_cidrs",
    "sports",
    "src_ports",
    "dports",
    "dst_ports",
    "dscp",
)


def match_text(match: Mapping[str, Any]) -> str:
    """Return the keys of a match with their values; empty ones are fitted by all packets."""
    keys = sorted((key for key, value in match.items() if value or value == 0), key=_ORDER.index)
    said = [f"{key.replace('_', ' ')} {value_text(match[key])}" for key in keys]
    return ", ".join(said) or "everything"


def value_text(value: Any) -> str:
    """Return a value, or several of them."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
