# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a running instance how it is, over its control socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

RUNTIME = Path("/run/mpquic")
_PATIENCE = 1.0
_LIMIT = 1 << 20


def status(instance_id: str, runtime: Path = RUNTIME) -> dict[str, Any] | None:
    """Return the instance's own status, None when nobody answers within a second."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(runtime / instance_id / "control.sock"))
            connection.sendall(b'{"command": "status"}\n')
            with connection.makefile("rb") as answer:
                found = json.loads(answer.readline(_LIMIT))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
