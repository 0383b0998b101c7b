# SPDX-License-Identifier: GPL-3.0-or-later
"""Our units: which ran, and which daemons run something else than what is written."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.host import programs, units
from mpquic.host.errors import HostError
from mpquic.host.guard.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Ask = Callable[[str], dict[str, object] | None]

INSTANCES = Path("/etc/mpquic/instances")
_INSTANCE = re.compile(r"mpquic@(.+)\.service")
_GUARD = "mpquic-guard."
#: Seconds: for systemd to answer, and for a daemon to take a reload over.
_PATIENCE = 60
_RELOAD = 5.0


def running() -> list[str]:
    """Return our units that run, without those that something else starts and stops (a socket, a timer).

    Raises:
        HostError: systemd does not answer.

    """
    show = ("systemctl", "show", "--property=Id,ActiveState,TriggeredBy", "mpquic*")
    done = programs.answer(*show, patience=_PATIENCE)
    if done is None or done.returncode != 0:
        raise HostError(f"systemctl show: {done.stderr.strip() if done else 'systemd does not answer'}")
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in done.stdout.strip().split("\n\n")
    ]
    return sorted(
        block["Id"]
        for block in blocks
        if block.get("ActiveState") in units.RUNNING
        and not block.get("TriggeredBy")
        and not block["Id"].startswith(_GUARD)
    )


def reload() -> Report:
    """Let systemd read the units again."""
    return _attempt("systemd read its units again", "daemon-reload")


def restore(wanted: Iterable[str], ask: Ask) -> Report:
    """Stop what did not run, start what did, and bring the daemons to what is written.

    `ask` returns what the daemon of an instance says of itself, None when it does not answer. Must not be called under
    the lock of the host: the units' own commands take it.
    """
    report = Report()
    wanted = set(wanted)
    now = set(running())
    for name in sorted(now - wanted):
        report.add(_attempt(f"stopped {name}", "stop", name))
    for name in sorted(wanted - now):
        programs.answer("systemctl", "reset-failed", name, patience=_PATIENCE)
        report.add(_attempt(f"started {name}", "start", name))
    instances = [match[1] for name in sorted(now & wanted) if (match := _INSTANCE.fullmatch(name))]
    stale = [name for name in instances if _outdated(name)]
    reloaded = [name for name in instances if name not in stale and _differs(name, ask)]
    for name in reloaded:
        report.add(_attempt(f"reloaded {units.unit(name)}", "reload", units.unit(name)))
    if reloaded:
        deadline = time.monotonic() + _RELOAD
        while (left := [name for name in reloaded if _differs(name, ask)]) and time.monotonic() < deadline:
            time.sleep(0.2)
        stale += left
    for name in stale:
        report.add(_attempt(f"restarted {units.unit(name)}", "restart", units.unit(name)))
    return report


def _attempt(text: str, *command: str) -> Report:
    report = Report()
    try:
        programs.demand(
            "systemctl", *command, patience=_PATIENCE, task=f"systemctl {' '.join(command)}", fault="failed"
        )
    except HostError as error:
        report.failed.append(str(error))
    else:
        report.done.append(text)
    return report


def _outdated(instance: str) -> bool:
    """Whether the daemon was started with other lines about release and unit than its environment file has.

    The others follow from its configuration, of which it tells itself.
    """
    show = programs.answer(
        "systemctl", "show", "--property=MainPID", "--value", units.unit(instance), patience=_PATIENCE
    )
    pid = show.stdout.strip() if show else ""
    try:
        started = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        written = (INSTANCES / f"{instance}.env").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return pid not in {"", "0"} and any(line not in started for line in written if line.startswith("MPQUIC_"))


def _differs(instance: str, ask: Ask) -> bool:
    """Whether the daemon says that it runs another configuration than the file's."""
    try:
        digest = hashlib.sha256((INSTANCES / f"{instance}.yaml").read_bytes()).hexdigest()
    except OSError:
        return False
    said = (ask(instance) or {}).get("config")
    return said is not None and said != digest
