# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of an heir: the present release, with the arguments of this process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

#: A service manager waits for its own children only, and the heir is to be one: its parent ends at once.
_SHELL = ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh"]
#: Seconds for that.
_START = 5.0


def spawn(config: Path, control: Path, theirs: socket.socket, env: Mapping[str, str]) -> int:
    """Start ``mpquic run`` as this process was started, with its end of the channel; return its number.

    Raises OSError.
    """
    end = theirs.fileno()
    line = [*_program(), "run", "--config", str(config), "--control", str(control), "--heir", str(end)]
    try:
        done = subprocess.run(  # noqa: S603 - this program
            [*_SHELL, *line],
            env=dict(env),
            pass_fds=(end,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_START,
            check=True,
        )
        return int(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        raise OSError(0, str(error)) from error


def end(pid: int) -> None:
    """End a process that is of no use."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _program() -> list[str]:
    """Return the command, which is a link to the present release; or this Python where it was run as a module."""
    found = Path(sys.argv[0])
    return [sys.executable, "-m", "mpquic"] if found.suffix == ".py" else [str(found.absolute())]
