# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of what a run makes, and the removal of what a run that was killed could not remove."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.shell import run

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where wireguard-go listens for wg(8), in whatever namespace it runs.
WIREGUARD = Path("/var/run/wireguard")
# Each name holds the pid of the run it belongs to; nothing with another form is ever touched.
_NAMESPACE = re.compile(r"mpqbench-([0-9]+)-[abr]")
_SCRATCH = re.compile(r"mpqbench-([0-9]+)-\w+")
_SOCKET = re.compile(r"mqb([0-9]+)[sc][0-9]+\.sock")


def namespace(end: str) -> str:
    """Return the name of this run's namespace ``end``: a, b or r."""
    return f"mpqbench-{os.getpid()}-{end}"


def device(role: str, number: int) -> str:
    """Return a name for an interface that is unique on this machine; at most 15 characters, as the kernel asks."""
    return f"mqb{os.getpid()}{role[0]}{number}"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a directory for files of this run, and remove it in the end."""
    with tempfile.TemporaryDirectory(prefix=f"mpqbench-{os.getpid()}-") as directory:
        yield Path(directory)


def remove_stale() -> None:
    """Remove what runs that are no more left behind."""
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        if _stale(_NAMESPACE, name):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    for path in Path(tempfile.gettempdir()).iterdir():
        if _stale(_SCRATCH, path.name):
            shutil.rmtree(path, ignore_errors=True)
    stale = [path for path in WIREGUARD.iterdir() if _stale(_SOCKET, path.name)] if WIREGUARD.is_dir() else []
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        with contextlib.suppress(OSError):  # others have sockets there
            WIREGUARD.rmdir()


def _stale(form: re.Pattern[str], name: str) -> bool:
    found = form.fullmatch(name)
    return found is not None and not Path("/proc", found[1]).exists()
