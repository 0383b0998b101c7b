# SPDX-License-Identifier: GPL-3.0-or-later
"""The control socket: a Unix stream socket, one JSON object per line in, one per line out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Bytes of one request, seconds for one exchange, exchanges at a time.
MAX_REQUEST = 4096
TIMEOUT = 2.0
MAX_CLIENTS = 8
#: Bytes of an answer that the asking side accepts: the status of a server has 600 per peer.
MAX_ANSWER = 1 << 24

_UCRED = struct.Struct("3i")


class ControlServer:
    """Answers requests of root and of the daemon's own user."""

    def __init__(self, path: Path, commands: dict[str, Callable[[], dict[str, Any]]]) -> None:
        """Offer ``commands`` at ``path``."""
        self._path = path
        self._commands = commands
        self._clients = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, replacing a socket that an ended process left behind. Raises OSError, also when one is alive."""
        if _alive(self._path):
            raise OSError(errno.EADDRINUSE, "in use by another process")
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=MAX_REQUEST)
        self._path.chmod(0o600)

    def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients <= MAX_CLIENTS and _allowed(writer.get_extra_info("socket")):
                async with asyncio.timeout(TIMEOUT):
                    answer = self._answer(await reader.readline())
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        except (OSError, TimeoutError, ValueError):
            # A client that went away, hesitated or sent too much gets no answer.
            pass
        finally:
            self._clients -= 1
            writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "request is not JSON"}
        name = request.get("command") if isinstance(request, dict) else None
        command = self._commands.get(name) if isinstance(name, str) else None
        return command() if command is not None else {"error": f"expected a command: {', '.join(self._commands)}"}


def _alive(path: Path) -> bool:
    """Tell whether a process listens at ``path``; never waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect(str(path))
        except BlockingIOError:  # its queue is full
            return True
        except OSError:
            return False
    return True


def _allowed(sock: socket.socket) -> bool:
    _pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return uid in {0, os.geteuid()}


def ask(path: Path, command: str) -> dict[str, Any]:
    """Send one command to the daemon behind ``path`` and return its answer.

    Raises OSError when the whole answer is not there within TIMEOUT, ValueError when it is not a JSON object of at most
    MAX_ANSWER bytes.
    """
    deadline = time.monotonic() + TIMEOUT
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(str(path))
        sock.sendall(json.dumps({"command": command}).encode() + b"\n")
        answer = bytearray()
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "no whole answer in time")
            sock.settimeout(left)
            part = sock.recv(65536)
            if not part:
                break
            answer += part
            if len(answer) > MAX_ANSWER:
                raise ValueError(f"answer is longer than {MAX_ANSWER} bytes")
    try:
        result = json.loads(answer)
    except (ValueError, RecursionError):
        raise ValueError("answer is not JSON") from None
    if not isinstance(result, dict):
        raise ValueError("answer is not a JSON object")  # noqa: TRY004 - one kind of error for the caller
    return result
