# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the system that the host engine asks: nft(8), systemctl(1)."""

from __future__ import annotations

import subprocess

from mpquic.host.errors import HostError


def answer(*command: str, patience: float) -> subprocess.CompletedProcess[str] | None:
    """Run a program; None when there is none of this name, or it does not end within ``patience`` seconds."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None


def demand(*command: str, patience: float, task: str, fault: str) -> None:
    """Run a program that has to succeed within ``patience`` seconds.

    Raises:
        HostError: It does not: ``task``, and the first line of what it says about it, ``fault`` when it says nothing.

    """
    done = answer(*command, patience=patience)
    if done is None or done.returncode != 0:
        text = done.stderr.strip().splitlines()[:1] if done else [f"{command[0]} does not answer"]
        raise HostError(f"{task}: {text[0] if text else fault}")
