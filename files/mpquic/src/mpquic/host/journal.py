# SPDX-License-Identifier: GPL-3.0-or-later
"""The last error that a unit logged, through journalctl(1)."""

from __future__ import annotations

from mpquic.host import programs

#: Seconds.
_PATIENCE = 5
_MOST = 300


def last_error(unit: str) -> str | None:
    """Return the newest line of the last hour at level error or worse, None where there is none, or no journal."""
    command = ("journalctl", "-q", "-o", "cat", "-p", "err", "-n", "1", "--since=-1h", "-u", unit)
    done = programs.answer(*command, patience=_PATIENCE)
    lines = done.stdout.strip().splitlines() if done is not None and done.returncode == 0 else []
    return "".join(char if char.isprintable() else "?" for char in lines[-1][:_MOST]) if lines else None
