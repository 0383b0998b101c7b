# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of the page: GET and HEAD of a few known things, for who has logged in."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, TypeVar

from mpquic.host.history import usage
from mpquic.io.httpserver import Bounded
from mpquic.page import day, drift, plan, site

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from mpquic.io.listen import Endpoint
    from mpquic.page.looks import Looks
    from mpquic.page.password import Gate

_Found = TypeVar("_Found")
_LOG = logging.getLogger("mpquic")
#: Connections at a time, and of one address; seconds that one may be silent.
MAX_REQUESTS, MAX_EACH = 32, 12
TIMEOUT = 10
#: Bytes from which on an answer is compressed.
_LONG = 1000
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
#: Nothing from elsewhere, nothing to elsewhere, in no frame; a browser keeps nothing of it.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_EVERYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class Content:
    """What there is to see, by its path. Safe for threads."""

    def __init__(self, looks: Looks, instances: Path, classes: Path, history: Path, watch: Path) -> None:
        """Show what ``looks`` sees, the files of the host and the ``watch`` say, and the history remembers."""
        self._looks = looks
        self._assets = _assets()
        self._made: dict[str, Callable[[], dict[str, Any]]] = {
            "/state": self._state,
            "/day": _kept(lambda: day.read(history, time.time()), 20.0),
            "/events": _kept(lambda: day.events(history, time.time()), 1.0),
        }
        self._plan = _kept(lambda: plan.read(instances, classes), 10.0)
        self._host = socket.gethostname()
        self._watch = watch

    def get(self, path: str) -> tuple[str, bytes] | None:
        """Return the type and the bytes of what is at a path, None if there is nothing."""
        if path in self._assets:
            return self._assets[path]
        make = self._made.get(path)
        return None if make is None else ("application/json", json.dumps(make(), separators=(",", ":")).encode())

    def _state(self) -> dict[str, Any]:
        found = site.picture(self._looks.now(), usage.told(), self._plan())
        now = time.time()
        return {"host": self._host, "at": now, "notes": drift.read(self._watch, now)} | found


def _kept(make: Callable[[], _Found], seconds: float) -> Callable[[], _Found]:
    """Return what makes something, and makes it anew after some seconds only."""
    lock = threading.Lock()
    kept: list[tuple[float, _Found]] = []

    def get() -> _Found:
        with lock:
            if not kept or time.monotonic() - kept[0][0] >= seconds:
                kept[:] = [(time.monotonic(), make())]
            return kept[0][1]

    return get


def _assets() -> dict[str, tuple[str, bytes]]:
    """Return the files of the page, by their paths."""
    folder = resources.files("mpquic.page") / "assets"
    found = {f"/{file.name}": file for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}
    found["/"] = found.pop("/page.html")
    return {path: (_TYPES[file.name.rpartition(".")[2]], file.read_bytes()) for path, file in found.items()}


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection. Nothing is logged but failed logins: whoever watches asks all the time."""

    protocol_version = "HTTP/1.1"
    #: Of a request that does not say it.
    default_request_version = "HTTP/1.0"
    timeout = TIMEOUT
    server: Server

    def version_string(self) -> str:
        """Name the program, not what it is made of."""
        return "mpquic"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer, to whom has logged in."""
        # What has a body is not read, so nothing may follow it.
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        if not self._admitted():
            return
        found = self.server.content.get(self.path.partition("?")[0])
        if found is None:
            self._say(HTTPStatus.NOT_FOUND)
        else:
            self._answer(HTTPStatus.OK, *found)

    do_HEAD = do_GET  # noqa: N815 - the base class wants it so

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that is none, or of another method, without repeating any of it."""
        del message, explain
        self.close_connection = True
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._say(status, {"Allow": "GET, HEAD"} if status is HTTPStatus.METHOD_NOT_ALLOWED else {})

    def _admitted(self) -> bool:
        """Tell whether who asks has logged in; if not, say so and end the connection."""
        gate, address = self.server.gate, str(self.client_address[0])
        header = self.headers.get("Authorization")
        if gate.known(header):
            return True
        if header is not None and not gate.wait(address):
            if gate.tries(address, header):
                return True
            _LOG.info("login refused address=%s", address)
        self.close_connection = True
        pause = gate.wait(address) if header is not None else 0.0
        if pause:
            self._say(HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(int(pause) + 1)})
        else:
            self._say(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'Basic realm="mpquic", charset="UTF-8"'})
        return False

    def _say(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        self._answer(status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode(), headers)

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        if self.request_version == "HTTP/0.9":
            # It would be answered without headers.
            self.request_version = self.default_request_version
        more = dict(headers or {})
        # A request that could not be read has none.
        asked = getattr(self, "headers", None)
        if asked is not None and len(body) >= _LONG and "gzip" in asked.get("Accept-Encoding", ""):
            body = gzip.compress(body, 5, mtime=0)
            more["Content-Encoding"] = "gzip"
        self.send_response(status)
        if self.close_connection:
            more["Connection"] = "close"
        length = {"Content-Type": kind, "Content-Length": str(len(body))}
        for name, value in (HEADERS | {"Vary": "Accept-Encoding"} | length | more).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(Bounded):
    """Serves the page at an endpoint, over TLS with a ``context``."""

    max_requests, max_each = MAX_REQUESTS, MAX_EACH

    def __init__(
        self,
        endpoint: Endpoint,
        content: Content,
        gate: Gate,
        *,
        allowed: Sequence[IPv4Network | IPv6Network] = (),
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Listen; everybody may try to log in unless some are ``allowed`` only. Raises OSError."""
        self.content = content
        self.gate = gate
        self._context = context
        super().__init__(endpoint, _Handler, allowed or _EVERYBODY)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer all requests of a connection, in its thread."""
        if self._context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(TIMEOUT)
        with self._context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)
