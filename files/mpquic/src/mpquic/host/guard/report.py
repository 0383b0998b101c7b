# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore did, in the operator's terms."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """`done` says what was undone, one thing a line; `failed` what could not be, and why."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Append another report."""
        self.done += other.done
        self.failed += other.failed
