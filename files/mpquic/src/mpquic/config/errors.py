# SPDX-License-Identifier: GPL-3.0-or-later
"""What the loader raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ConfigError(Exception):
    """A configuration that cannot be used: every fault found, one line each.

    ``messages`` holds lines of the form ``FILE: key: what was found, what was expected``.
    """

    def __init__(self, messages: Iterable[str]) -> None:
        """Keep the lines in the order in which they were found."""
        self.messages = list(messages)
        super().__init__("\n".join(self.messages))


def quoted(value: object, limit: int = 60) -> str:
    """Return ``value`` as it may stand in a one-line message: text in quotes, shortened, control characters escaped."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
