# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd units of the instances, through systemctl(1), and whether their files are those of the roles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.host import programs
from mpquic.host.routing import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOT_FOUND = "not-found"
RUNNING = frozenset({"active", "activating", "reloading"})
MANIFEST = Path("/etc/mpquic/units.sha256")
"""What the roles installed: a line for each file, SHA-256 and path, as sha256sum(1) prints it."""

#: Seconds.
_PATIENCE = 30
_PROPERTIES = "LoadState,ActiveState,UnitFileState,NeedDaemonReload"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of an instance; `active` is its ActiveState, ``not-found`` where there is none."""

    name: str
    active: str
    enabled: str = ""
    masked: bool = False
    reread: bool = False

    @property
    def problems(self) -> list[Problem]:
        """What is wrong with it, whether it runs or not."""
        found = []
        if self.masked:
            found.append(Problem("unit_masked", f"{self.name} is masked, so it cannot be started"))
        elif self.enabled == "disabled":
            found.append(Problem("unit_disabled", f"{self.name} is disabled, so it does not come back after a reboot"))
        if self.reread:
            message = f"{self.name} has changed on disk, and systemd has not read that: systemctl daemon-reload"
            found.append(Problem("unit_not_reread", message))
        return found


def unit(instance_id: str) -> str:
    """Return the name of an instance's unit."""
    return f"mpquic@{instance_id}.service"


def states(instance_ids: Sequence[str]) -> dict[str, Unit] | None:
    """Return the units by instance; None on a host without systemd."""
    if not instance_ids:
        return {}
    names = [unit(instance_id) for instance_id in instance_ids]
    done = programs.answer("systemctl", "show", f"--property={_PROPERTIES}", *names, patience=_PATIENCE)
    if done is None or done.returncode != 0:
        return None
    # One block of KEY=VALUE lines for each unit, in the order asked, blank lines between.
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in done.stdout.strip().split("\n\n")]
    return {
        instance_id: _unit(unit(instance_id), block) for instance_id, block in zip(instance_ids, blocks, strict=True)
    }


def _unit(name: str, block: dict[str, str]) -> Unit:
    load = block.get("LoadState")
    return Unit(
        name,
        active=NOT_FOUND if load == NOT_FOUND else block.get("ActiveState", "unknown"),
        enabled=block.get("UnitFileState", ""),
        masked=load == "masked",
        reread=block.get("NeedDaemonReload") == "yes",
    )


def differing() -> Iterator[Problem]:
    """Yield which files of units are not what the roles installed; without a manifest nobody knows."""
    try:
        lines = MANIFEST.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for digest, path in (line.split(maxsplit=1) for line in lines if not line.startswith("#") and " " in line):
        try:
            found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except OSError:
            continue
        if found != digest:
            yield Problem("unit_differs", f"{path} is not what the play installed")


def restart(instance_ids: Sequence[str]) -> None:
    """Restart units, without waiting for them and whatever their start limit says.

    Raises:
        HostError: systemd refuses.

    """
    names = [unit(instance_id) for instance_id in instance_ids]
    programs.answer("systemctl", "reset-failed", *names, patience=_PATIENCE)
    task = f"restart {' '.join(names)}"
    programs.demand("systemctl", "restart", "--no-block", *names, patience=_PATIENCE, task=task, fault="failed")
