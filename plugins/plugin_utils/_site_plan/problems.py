# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Errors and warnings of a site, collected so that the operator sees all of them at once."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Problems:
    """What is wrong (``errors``) or merely unusual (``warnings``), one line each."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def unexpected(self, where: str, found: object, expected: str) -> None:
        """Record a value of the wrong kind."""
        self.errors.append(f"{where}: found {_quoted(found)}, expected {expected}")

    def missing(self, where: str, expected: str) -> None:
        """Record a value that is not there."""
        self.errors.append(f"{where}: not set, expected {expected}")

    def clash(self, where: str, found: object, with_what: str) -> None:
        """Record a value that something else claims."""
        self.errors.append(f"{where}: found {_quoted(found)}, {with_what}")

    def warn(self, where: str, text: str) -> None:
        """Record something allowed that may be a slip."""
        self.warnings.append(f"{where}: {text}")


def one_line(value: object) -> str:
    """Return the value as one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _quoted(value: object) -> str:
    """Return the value as the operator wrote it, strings between quotes."""
    return one_line(repr(str(value)) if isinstance(value, str) else value)
