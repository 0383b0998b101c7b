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
    from collections.abc import Callable, Container
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

    def __init__(
        self, path: Path, commands: dict[str, Callable[[], dict[str, Any]]], *, for_root: Container[str] = ()
    ) -> None:
        """Offer ``commands`` at ``path``, those in ``for_root`` to root only."""
        self._path = path
        self._commands = commands
        self._for_root = for_root
        #: What is at the path is this one's as long as it has this number.
        self._inode = 0
        self._clients = 0
        self._server: asyncio.Server | None = None

    async def start(self, *, replace: bool = False) -> None:
        """Listen, replacing a socket that an ended process left behind. Raises OSError, also when one is alive.

        With ``replace`` a living one is replaced as well, and at no moment nobody is there.
        """
        if not replace and _alive(self._path):
            raise OSError(errno.EADDRINUSE, "in use by another process")
        beside = self._path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(beside))
            beside.chmod(0o600)
            self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=MAX_REQUEST)
            self._inode = beside.stat().st_ino
            beside.rename(self._path)
        except OSError:
            sock.close()
            raise

    def stop(self) -> None:
        """Stop listening and remove the socket, unless it is another process's by now."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            asking = _uid(writer.get_extra_info("socket"))
            if self._clients <= MAX_CLIENTS and asking in {0, os.geteuid()}:
                async with asyncio.timeout(TIMEOUT):
                    answer = self._answer(await reader.readline(), root=asking == 0)
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        except (OSError, TimeoutError, ValueError):
            # A client that went away, hesitated or sent too much gets no answer.
            pass
        finally:
            self._clients -= 1
            writer.close()

    def _answer(self, line: bytes, *, root: bool) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "request is not JSON"}
        name = request.get("command") if isinstance(request, dict) else None
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            return {"error": f"expected a command: {', '.join(self._commands)}"}
        return command() if root or name not in self._for_root else {"error": f"{name}: only root may ask for this"}


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


def _uid(sock: socket.socket) -> int:
    """Return who asks."""
    uid: int = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1]
    return uid


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
