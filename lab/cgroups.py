# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups as the lab uses them: to know all processes of something, and to end them."""

from contextlib import suppress
from pathlib import Path

from lab.shell import wait_until


def populated(cgroup: Path) -> bool:
    """Tell whether any process is in a cgroup or below it."""
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def count(cgroup: Path) -> int:
    """Count the processes in a cgroup itself."""
    try:
        return len((cgroup / "cgroup.procs").read_text().split())
    except OSError:
        return 0


def joining(cgroup: Path, argv: list[str]) -> list[str]:
    """Return the command that runs `argv` in a cgroup."""
    return ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(cgroup), *argv]


def freeze(cgroup: Path) -> None:
    """Stop all processes in a cgroup where they are; no effect if there is none."""
    if populated(cgroup):
        (cgroup / "cgroup.freeze").write_text("1")
        events = cgroup / "cgroup.events"
        wait_until(lambda: "frozen 1" in events.read_text(), 5, lambda: f"{cgroup}: its processes do not stop")


def kill(cgroup: Path) -> None:
    """Kill all processes in a cgroup and remove it; no effect if there is none."""
    with suppress(FileNotFoundError):
        (cgroup / "cgroup.kill").write_text("1")
    wait_until(lambda: not populated(cgroup), 10, lambda: f"{cgroup}: its processes do not end")
    if cgroup.exists():
        for folder in sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        cgroup.rmdir()
