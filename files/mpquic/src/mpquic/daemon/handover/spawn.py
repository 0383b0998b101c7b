# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of an heir: the present release, with the arguments of this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping


def spawn(config: Path, control: Path, theirs: socket.socket, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start ``mpquic run`` as this process was started, with its end of the channel. Raises OSError."""
    number = theirs.fileno()
    line = [*_program(), "run", "--config", str(config), "--control", str(control), "--heir", str(number)]
    return subprocess.Popen(  # noqa: S603 - this program
        line, env=dict(env), pass_fds=(number,), stdin=subprocess.DEVNULL
    )


def _program() -> list[str]:
    """Return the command, which is a link to the present release; or this Python where it was run as a module."""
    found = Path(sys.argv[0])
    return [sys.executable, "-m", "mpquic"] if found.suffix == ".py" else [str(found.absolute())]
