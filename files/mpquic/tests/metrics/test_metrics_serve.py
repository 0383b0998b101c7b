# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter's server: where it listens, whom it answers, and what it bears."""

from __future__ import annotations

import http.client
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from mpquic.cli import exporter, main
from mpquic.io import listen
from mpquic.metrics import serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conftest import Host


@contextmanager
def serving(host: Host, where: str, allowed: Sequence[str] = ()) -> Iterator[None]:
    with serve.Server(listen.endpoint(where), host.registry, listen.networks(allowed)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, request: bytes, source: str = "127.0.0.1") -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5, (source, 0)) as sock:
        sock.sendall(request)
        answer = b""
        try:
            while part := sock.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


GET = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def test_a_unix_socket_for_root_and_the_group(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with serving(host, f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(GET)
            sock.settimeout(5)
            answer = b""
            while part := sock.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.0 200 OK")
        assert b"mpquic_exporter_build_info" in answer
        with pytest.raises(OSError, match="in use"):
            serve.Server(listen.endpoint(f"unix:{path}"), host.registry, [])
    assert not path.exists()


def test_only_who_may_ask_is_answered(host: Host) -> None:
    port = free_port()
    with serving(host, f"127.0.0.1:{port}", ["127.0.0.2", "127.0.1.0/24"]):
        assert ask(port, GET) == b""
        assert b"mpquic_exporter_build_info" in ask(port, GET, "127.0.0.2")
        assert b"mpquic_exporter_build_info" in ask(port, GET, "127.0.1.9")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", b"405"),
        (b"GET /metrics?name[]=up HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /../../etc/passwd HTTP/1.0\r\n\r\n", b"404"),
        (b"GET " + b"a" * 70000 + b" HTTP/1.0\r\n\r\n", b"414"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
    ],
)
def test_other_requests(host: Host, request_: bytes, status: bytes) -> None:
    port = free_port()
    with serving(host, f"127.0.0.1:{port}", ["127.0.0.1"]):
        assert status in ask(port, request_)


def test_slow_clients_do_not_take_all(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve._Handler, "timeout", 0.5)
    port = free_port()
    before = threading.active_count()
    with serving(host, f"127.0.0.1:{port}", ["127.0.0.1"]):
        slow = [socket.create_connection(("127.0.0.1", port), 5) for _each in range(30)]
        time.sleep(0.2)
        assert threading.active_count() - before <= serve.MAX_REQUESTS + 1
        assert ask(port, GET) == b""
        time.sleep(0.6)
        assert b"200 OK" in ask(port, GET)
        for each in slow:
            each.close()


def test_values_are_kept_for_a_moment(host: Host) -> None:
    """Whoever asks all the time does not keep the daemons from answering others."""
    host.answers("1", {"state": "up", "role": "client"})
    port = free_port()
    with serving(host, f"127.0.0.1:{port}", ["127.0.0.1"]):
        first, second = ask(port, GET), ask(port, GET)
    keep = b"mpquic_exporter_collect_seconds "
    assert first.split(keep)[1].split(b"\n")[0] == second.split(keep)[1].split(b"\n")[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "0.0.0.0:9"], "not for every network"),
        (["--listen", "[::]:9"], "not for every network"),
        (["--listen", "224.0.0.1:9"], "not for every network"),
        (["--listen", "example.org:9"], "no name"),
        (["--listen", "::1:9"], "brackets"),
        (["--listen", "192.0.2.1"], "expected unix:/PATH or ADDRESS:PORT"),
        (["--listen", "192.0.2.1:0"], "port from 1 to 65535"),
        (["--listen", "192.0.2.1:x"], "port from 1 to 65535"),
        (["--listen", "unix:metrics"], "absolute path"),
        (["--listen", "192.0.2.1:9"], "--allow: expected"),
        (["--listen", "192.0.2.1:9", "--allow", "10.0.0.1/8"], "10.0.0.1/8: expected an address or a prefix"),
    ],
)
def test_where_it_does_not_listen(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exporter", *arguments]) == 64
    assert said in capsys.readouterr().err


def test_it_ends_when_there_is_another_release(tmp_path: Path) -> None:
    link = tmp_path / "mpquic"
    link.symlink_to("one")
    stop = threading.Event()
    thread = threading.Thread(target=exporter.wait, args=(stop, link, 0.02))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    link.unlink()
    link.symlink_to("two")
    thread.join(5)
    assert not thread.is_alive()
    assert not stop.is_set()


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port = free_port()
    line = [sys.executable, "-m", "mpquic", "exporter", "--listen", f"127.0.0.1:{port}", "--allow", "127.0.0.1"]
    with subprocess.Popen([*line, "--run-dir", str(tmp_path), "--instances", str(tmp_path)]) as process:
        for _try in range(100):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/metrics")
                answer = connection.getresponse()
                break
            except OSError:
                time.sleep(0.1)
        assert answer.status == 200
        assert b"process_cpu_seconds_total" in answer.read()
        process.terminate()
        assert process.wait(10) == 0
