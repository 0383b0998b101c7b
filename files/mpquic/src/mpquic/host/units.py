# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd units of the instances, through systemctl(1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.host import programs

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_FOUND = "not-found"
RUNNING = frozenset({"active", "activating", "reloading"})
#: Seconds.
_PATIENCE = 30


def unit(instance_id: str) -> str:
    """Return the name of an instance's unit."""
    return f"mpquic@{instance_id}.service"


def states(instance_ids: Sequence[str]) -> dict[str, str] | None:
    """Return ActiveState by instance, ``not-found`` where there is no unit; None on a host without systemd."""
    if not instance_ids:
        return {}
    names = [unit(instance_id) for instance_id in instance_ids]
    done = programs.answer("systemctl", "show", "--property=LoadState,ActiveState", *names, patience=_PATIENCE)
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
    programs.answer("systemctl", "reset-failed", *names, patience=_PATIENCE)
    task = f"restart {' '.join(names)}"
    programs.demand("systemctl", "restart", "--no-block", *names, patience=_PATIENCE, task=task, fault="failed")
