# SPDX-License-Identifier: GPL-3.0-or-later
"""What the loader raises, and how values get into its messages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: A larger number is described by its size: Python refuses to print one of thousands of digits.
_PRINTED_BITS = 128


class ConfigError(Exception):
    """A configuration that cannot be used: every fault found, one line each.

    ``messages`` holds lines of the form ``FILE: key: what was found, what was expected``.
    """

    def __init__(self, messages: Iterable[str]) -> None:
        """Keep the lines in the order in which they were found."""
        self.messages = list(messages)
        super().__init__("\n".join(self.messages))


@dataclass(slots=True)
class Findings:
    """What there is to say about one file: lines without its name."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def quoted(value: object, limit: int = 60) -> str:
    """Return ``value`` as it may stand in a one-line message of some ``limit`` characters.

    Text in quotes with control characters escaped, collections by their size: aliases can make those as large as they
    like.
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"a mapping of {len(value)}"
    if isinstance(value, (list, tuple, set)):
        return f"a list of {len(value)}"
    if isinstance(value, int) and value.bit_length() > _PRINTED_BITS:
        return f"a number of {value.bit_length()} bits"
    text = repr(value[: limit + 1]) if isinstance(value, (str, bytes)) else str(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def key_name(key: object) -> str:
    """Return a key of the file as it may stand in a message: as it is if that is plain, else in quotes."""
    return key if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else quoted(key)


def listed(names: Iterable[str], most: int = 8) -> str:
    """Return names as a message lists what there is; behind the first ``most`` only how many more there are."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
