# SPDX-License-Identifier: GPL-3.0-or-later
"""The control socket and the service manager's socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mpquic.io import control
from mpquic.io.control import ControlServer, ask
from mpquic.io.sdnotify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def path() -> Iterator[Path]:
    """The socket of a server that runs in a thread, in a folder that everybody can enter."""
    folder = Path(tempfile.mkdtemp(prefix="mpquic-test-"))
    folder.chmod(0o755)
    place = folder / "control.sock"
    loop = asyncio.new_event_loop()
    server = ControlServer(place, {"status": lambda: {"id": "4", "drops": {}}})
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(5)
    yield place
    loop.call_soon_threadsafe(server.stop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()
    assert not place.exists()
    folder.rmdir()


def _raw(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        answer = b""
        try:
            sock.sendall(data)
            while part := sock.recv(4096):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        return answer


def test_status(path: Path) -> None:
    assert ask(path, "status") == {"id": "4", "drops": {}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "line", [b"hello\n", b"[]\n", b"{}\n", b'{"command": 1}\n', b'{"command": "stop"}\n', b"[" * 4000 + b"\n", b"\n"]
)
def test_strange_requests_get_an_error(path: Path, line: bytes) -> None:
    assert "error" in json.loads(_raw(path, line))
    assert ask(path, "status")["id"] == "4"


def test_long_request_gets_nothing(path: Path) -> None:
    assert _raw(path, b"x" * 200_000) == b""
    assert ask(path, "status")["id"] == "4"


def test_silent_clients_do_not_block(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "TIMEOUT", 0.3)
    silent = [socket.socket(socket.AF_UNIX) for _ in range(control.MAX_CLIENTS + 4)]
    for sock in silent:
        sock.connect(str(path))
    for sock in silent:
        sock.settimeout(5)
        assert sock.recv(100) == b""
        sock.close()
    assert ask(path, "status")["id"] == "4"


def test_only_so_many_clients_at_a_time(path: Path) -> None:
    request = b'{"command": "status"}\n'
    silent = [socket.socket(socket.AF_UNIX) for _ in range(control.MAX_CLIENTS)]
    for sock in silent[1:]:
        sock.connect(str(path))
    assert json.loads(_raw(path, request))["id"] == "4"
    silent[0].connect(str(path))
    assert _raw(path, request) == b""
    for sock in silent:
        sock.close()
    end = time.monotonic() + 5
    while not _raw(path, request):
        assert time.monotonic() < end, "places of clients that went away are not free again"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_other_users_are_not_answered(path: Path) -> None:
    path.chmod(0o666)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setuid(65534)
            answer = _raw(path, b'{"command": "status"}\n')
            os._exit(7 if answer == b"" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    place = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))

    async def start() -> None:
        server = ControlServer(place, {})
        await server.start()
        server.stop()

    asyncio.run(start())
    assert not place.exists()


def test_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        Notifier().send("READY=1")
        assert manager.recv(100) == b"READY=1"
    Notifier().send("nobody listens")
    monkeypatch.delenv("NOTIFY_SOCKET")
    Notifier().send("nothing")
    assert Notifier.watchdog_interval() is None
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    assert Notifier.watchdog_interval() == 5.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier.watchdog_interval() is None
