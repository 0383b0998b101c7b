# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table of the tunnels: the guard against leaks on a client, the NAT on a VPS. The roles write its file."""

from __future__ import annotations

from pathlib import Path

from mpquic.host import programs

FILE = Path("/etc/mpquic/mpquic.nft")
_TABLE = ("inet", "mpquic")
#: Seconds.
_PATIENCE = 10


def missing() -> bool:
    """Tell whether this host should have the table and does not."""
    if not FILE.exists():
        return False
    done = programs.answer("nft", "list", "table", *_TABLE, patience=_PATIENCE)
    return done is not None and done.returncode != 0


def load() -> None:
    """Load the table, in one transaction.

    Raises:
        HostError: nft refuses the file or does not answer.

    """
    programs.demand("nft", "-f", str(FILE), patience=_PATIENCE, task=str(FILE), fault="refused")
