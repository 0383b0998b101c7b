# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the keeper for what this process may not do itself (docs/privileges.md); nothing here blocks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

#: Where mpquic-keeper.socket listens.
SOCKET = Path("/run/mpquic/keeper.sock")
#: Seconds for one exchange: the service manager may have to start the keeper first.
TIMEOUT = 10.0
#: Bytes of an answer.
_MAX_ANSWER = 4096


class KeeperError(Exception):
    """The keeper does not answer, or refuses; the text says why."""


async def ask_mtu(name: str, mtu: int) -> int:
    """Have the MTU of a TUN of this user set (bytes), and return the one before. Raises KeeperError."""
    request = {"command": "set-mtu", "name": name, "mtu": mtu}
    try:
        async with asyncio.timeout(TIMEOUT):
            answer = await _exchange(json.dumps(request).encode() + b"\n")
    except TimeoutError:
        raise KeeperError(f"keeper {SOCKET}: no answer in {TIMEOUT:.0f} s") from None
    except OSError as error:
        raise KeeperError(f"keeper {SOCKET}: {error.strerror or error}") from error
    except ValueError:
        raise KeeperError(f"keeper {SOCKET}: the answer is not a line of JSON") from None
    before = answer.get("before")
    if isinstance(before, int):
        return before
    where, found, expected = (answer.get(key, "?") for key in ("where", "found", "expected"))
    raise KeeperError(f"keeper: {where}: found {found}, expected {expected}")


async def _exchange(request: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(str(SOCKET), limit=_MAX_ANSWER)
    try:
        writer.write(request)
        answer = json.loads(await reader.readline())
    finally:
        writer.close()
    if not isinstance(answer, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one kind of error for the caller
    return answer
