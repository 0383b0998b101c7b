# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd units of the instances, through systemctl(1)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from mpquic.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_FOUND = "not-found"
RUNNING = frozenset({"active", "activating", "reloading"})
_PATIENCE = 30


def unit(instance_id: str) -> str:
    """Return the name of an instance's unit."""
    return f"mpquic@{instance_id}.service"


def states(instance_ids: Sequence[str]) -> dict[str, str] | None:
    """Return ActiveState by instance, ``not-found`` where there is no unit; None on a host without systemd."""
    if not instance_ids:
        return {}
    names = [unit(instance_id) for instance_id in instance_ids]
    done = _systemctl("show", "--property=LoadState,ActiveState", *names)
    if done is None or done.returncode != 0:
        return None
    # One block of KEY=VALUE lines for each unit, in the order asked, blank lines between.
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in done.stdout.strip().split("\n\n")]
    return {
        instance_id: NOT_FOUND if block.get("LoadState") == NOT_FOUND else block.get("ActiveState", "unknown")
        for instance_id, block in zip(instance_ids, blocks, strict=True)
    }


def restart(instance_ids: Sequence[str]) -> None:
    """Restart units, without waiting for them and whatever their start limit says.

    Raises:
        HostError: systemd refuses.

    """
    names = [unit(instance_id) for instance_id in instance_ids]
    _systemctl("reset-failed", *names)
    done = _systemctl("restart", "--no-block", *names)
    if done is None or done.returncode != 0:
        text = done.stderr.strip().splitlines()[:1] if done else ["systemctl does not answer"]
        raise HostError(f"restart {' '.join(names)}: {text[0] if text else 'failed'}")


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    command = ["systemctl", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
