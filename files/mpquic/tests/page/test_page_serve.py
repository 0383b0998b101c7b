# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's server: nothing without a login, nothing but what is known, and what it bears."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.cli import main
from mpquic.io import listen
from mpquic.page import certificate, looks, password, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = "correct horse battery"
LOGIN = "Basic " + base64.b64encode(f"mpquic:{GOOD}".encode()).decode()
PATHS = ["/", "/page.css", "/page.js", "/picture.js", "/icon.svg", "/state", "/day", "/events"]


@pytest.fixture(scope="module")
def known() -> password.Hash:
    return password.Hash.of(GOOD)


@contextmanager
def serving(folder: Path, known: password.Hash, **more: Any) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    content = serve.Content(
        looks.Looks(folder, folder), folder, folder / "classes.yaml", folder / "history.db", folder / "watch.json"
    )
    endpoint = listen.endpoint(f"127.0.0.1:{port}")
    with serve.Server(endpoint, content, password.Gate(known), **more) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield port
        finally:
            server.shutdown()
            thread.join(5)


@pytest.fixture
def port(tmp_path: Path, known: password.Hash) -> Iterator[int]:
    with serving(tmp_path, known) as found:
        yield found


def ask(port: int, path: str, login: str | None = LOGIN, method: str = "GET", **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers | ({} if login is None else {"Authorization": login}))
    answer = connection.getresponse()
    return answer, answer.read()


def raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(data)
        answer = b""
        try:
            while part := sock.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/../../etc/passwd"])
def test_without_login_there_is_nothing(port: int, path: str) -> None:
    for method in ("GET", "HEAD"):
        answer, body = ask(port, path, None, method)
        assert answer.status == 401
        assert body == (b"Unauthorized\n" if method == "GET" else b"")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="mpquic", charset="UTF-8"'
        assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("path", PATHS)
def test_with_login_there_is_all_and_nothing_may_be_kept_or_framed(port: int, path: str) -> None:
    answer, body = ask(port, path)
    assert answer.status == 200
    assert body
    for name, value in serve.HEADERS.items():
        assert answer.headers[name] == value
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Server"] == "mpquic"
    head, nothing = ask(port, path, method="HEAD")
    assert (head.status, nothing) == (200, b"")


def test_a_host_without_tunnels_and_history_says_so(port: int) -> None:
    state = json.loads(ask(port, "/state")[1])
    assert state["nodes"] == []
    assert state["summary"].startswith("no instance")
    assert "nothing was recorded" in json.loads(ask(port, "/day")[1])["why"]
    assert "nothing was recorded" in json.loads(ask(port, "/events")[1])["why"]


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/page.html", "/assets/page.css", "/..%2f..%2fetc/passwd", "/%2e%2e/__init__.py"),
        *("/state/", "/page.css/../../password.py", "/STATE", "http://other.example/state", "/\\..\\serve.py"),
    ],
)
def test_only_what_is_known_is_found(port: int, path: str) -> None:
    answer, body = ask(port, path)
    assert (answer.status, body) == (404, b"Not Found\n")


def test_a_query_changes_nothing(port: int) -> None:
    assert ask(port, "/page.css?../../etc/passwd")[1] == ask(port, "/page.css")[1]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize("login", [None, LOGIN])
def test_nothing_can_be_done_but_look(port: int, method: str, login: str | None) -> None:
    answer, body = ask(port, "/state", login, method)
    assert (answer.status, body) == (405, b"Method Not Allowed\n")
    assert answer.headers["Allow"] == "GET, HEAD"


BAD = {
    b"\x16\x03\x01\x02\x00\x01\r\n\r\n": b"400",
    b"GET\r\n\r\n": b"400",
    b"GET / HTTP/9.9\r\n\r\n": b"505",
    b"GET / HTTP/x<script>\r\n\r\n": b"400",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n": b"431",
    b"GET / HTTP/1.1\r\nA: " + b"a" * 70000 + b"\r\n\r\n": b"431",
    b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n": b"414",
    b"GET / HTTP/1.1\r\nAuthorization: Basic \xff\xfe\r\n\r\n": b"401",
}


@pytest.mark.parametrize(("request_", "status"), BAD.items(), ids=range(len(BAD)))
def test_bad_requests_get_a_word_and_no_traceback(
    port: int, request_: bytes, status: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = raw(port, request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"Content-Security-Policy" in answer
    assert b"script>" not in answer
    assert ask(port, "/state")[0].status == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("request_", [b"", b"GET /\r\n", b"GET / HTTP/1.1\r\nAuth"])
def test_what_is_no_whole_request_gets_nothing(port: int, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(request_)
        sock.shutdown(socket.SHUT_WR)
        assert b"mpquic.js" not in sock.recv(65536)


def test_a_body_ends_the_connection_so_that_nothing_in_it_is_a_request(port: int) -> None:
    inner = b"GET /state HTTP/1.1\r\nAuthorization: " + LOGIN.encode() + b"\r\n\r\n"
    head = f"GET /icon.svg HTTP/1.1\r\nAuthorization: {LOGIN}\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
    assert raw(port, head + inner).count(b"HTTP/1.1 200") == 1


def test_who_has_logged_in_keeps_the_connection(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    sockets = set()
    for _time in range(3):
        connection.request("GET", "/state", headers={"Authorization": LOGIN})
        assert connection.getresponse().read()
        sockets.add(connection.sock)
    assert len(sockets) == 1


def test_long_answers_are_compressed_for_who_takes_it(port: int) -> None:
    answer, body = ask(port, "/page.js", **{"Accept-Encoding": "gzip, br"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == ask(port, "/page.js")[1]


def test_who_fails_often_is_put_off_though_the_password_is_right_then(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mpquic")
    wrong = "Basic " + base64.b64encode(b"mpquic:not the password").decode()
    found = [ask(port, "/state", wrong)[0].status for _time in range(7)]
    assert found == [401] * 5 + [429] * 2
    answer, body = ask(port, "/state")
    assert (answer.status, body) == (429, b"Too Many Requests\n")
    assert int(answer.headers["Retry-After"]) >= 1
    time.sleep(1.1)
    assert ask(port, "/state")[0].status == 200
    assert "login refused address=127.0.0.1" in caplog.text


def test_slow_ones_take_only_their_share(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve._Handler, "timeout", 5.0)
    slow = [socket.create_connection(("127.0.0.1", port), 5) for _each in range(40)]
    deadline = time.monotonic() + 4
    while raw(port, b"GET / HTTP/1.1\r\n\r\n") != b"":
        assert time.monotonic() < deadline
    # Of another address.
    with socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.2", 0)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 401")
    deadline = time.monotonic() + 30
    while not raw(port, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 401"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for each in slow:
        each.close()


def test_only_addresses_that_are_allowed_may_try(tmp_path: Path, known: password.Hash) -> None:
    with serving(tmp_path, known, allowed=listen.networks(["127.0.0.2"])) as port:
        assert raw(port, b"GET / HTTP/1.1\r\n\r\n") == b""


def test_tls_of_the_last_version_with_its_own_certificate(tmp_path: Path, known: password.Hash) -> None:
    for name, data in zip((certificate.CERTIFICATE, certificate.KEY), certificate.make("127.0.0.1"), strict=True):
        (tmp_path / name).write_bytes(data)
    with serving(tmp_path, known, context=certificate.context(tmp_path)) as port:
        trust = ssl.create_default_context(cafile=str(tmp_path / certificate.CERTIFICATE))
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trust)
        connection.request("GET", "/state", headers={"Authorization": LOGIN})
        assert connection.sock.version() == "TLSv1.3"
        assert connection.getresponse().status == 200
        assert b"HTTP" not in raw(port, b"GET / HTTP/1.1\r\n\r\n")
        trust.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", port), 5) as sock:
            trust.wrap_socket(sock, server_hostname="127.0.0.1")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--listen", "0.0.0.0:9"], 64, "not for every network"),
        (["--listen", "example.org:9"], 64, "no name"),
        (["--allow", "somebody"], 64, "an address or a prefix"),
        ([], 78, "No such file"),
        (["--listen", "192.0.2.1:9"], 78, "cert.pem"),
    ],
)
def test_where_it_does_not_listen(
    arguments: list[str], code: int, said: str, known: password.Hash, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if said == "cert.pem":
        (tmp_path / "password").write_text(known.line())
        (tmp_path / "password").chmod(0o600)
    assert main(["page", "serve", "--secrets", str(tmp_path), *arguments]) == code
    assert said in capsys.readouterr().err
