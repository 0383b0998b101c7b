# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table of the tunnels: the guard against leaks on a client, the NAT on a VPS. The roles write its file."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mpquic.host.errors import HostError

FILE = Path("/etc/mpquic/mpquic.nft")
_TABLE = ("inet", "mpquic")
_PATIENCE = 10


def missing() -> bool:
    """Tell whether this host should have the table and does not."""
    if not FILE.exists():
        return False
    done = _nft("list", "table", *_TABLE)
    return done is not None and done.returncode != 0


def load() -> None:
    """Load the table, in one transaction.

    Raises:
        HostError: nft refuses the file or does not answer.

    """
    done = _nft("-f", str(FILE))
    if done is None or done.returncode != 0:
        text = done.stderr.strip().splitlines()[:1] if done else ["nft does not answer"]
        raise HostError(f"{FILE}: {text[0] if text else 'refused'}")


def _nft(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    command = ["nft", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
