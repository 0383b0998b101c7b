# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemctl(1) for a test: units are files with their state, and what was asked of it is kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SCRIPT = """#!/bin/sh
cd {folder}/units
echo "$*" >>../calls
verb=$1; shift
if [ -e ../refused ] && [ "$verb" = "$(cat ../refused)" ]; then echo "Unit not found." >&2; exit 5; fi
for unit; do :; done
case $verb in
  show)
    case $1 in
      *MainPID*) cat ../pids/$unit 2>/dev/null || echo 0 ;;
      *) for unit in mpquic*; do [ -e $unit ] && echo Id=$unit && cat $unit && echo; done; true ;;
    esac ;;
  start|restart) echo ActiveState=active >$unit ;;
  stop) echo ActiveState=inactive >$unit ;;
esac
"""


class Systemd:
    """The units of a host."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        for name in ("units", "pids", "bin"):
            (folder / name).mkdir(parents=True)
        script = folder / "bin" / "systemctl"
        script.write_text(SCRIPT.format(folder=folder))
        script.chmod(0o755)
        (folder / "calls").write_text("")
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")

    def has(self, unit: str, state: str = "active", more: str = "", pid: int = 0) -> None:
        """Let there be a unit."""
        (self.folder / "units" / unit).write_text(f"ActiveState={state}\n{more}")
        (self.folder / "pids" / unit).write_text(f"{pid}\n")

    def refuse(self, verb: str) -> None:
        """Fail whenever this is asked."""
        (self.folder / "refused").write_text(verb)

    def runs(self, unit: str) -> bool:
        """Tell whether a unit runs."""
        path = self.folder / "units" / unit
        return path.exists() and "=active" in path.read_text()

    def calls(self) -> list[str]:
        """Return what changes were asked for, and forget them."""
        path = self.folder / "calls"
        found = [line for line in path.read_text().splitlines() if not line.startswith("show")]
        path.write_text("")
        return found
