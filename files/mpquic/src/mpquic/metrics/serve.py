# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP server for metrics: few at a time, none for long, and only for those who may ask."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from prometheus_client import CollectorRegistry

    from mpquic.metrics.listen import Endpoint

#: Requests at a time, and seconds for one exchange with a slow client.
MAX_REQUESTS = 4
TIMEOUT = 5
#: linux/in.h: an address may come to the host later than this program.
_IP_FREEBIND = 15


class _Handler(WSGIRequestHandler):
    """One request. Nothing is logged: whoever may ask does so all day."""

    timeout = TIMEOUT

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """Serves ``/metrics`` at an endpoint."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(
        self, endpoint: Endpoint, registry: CollectorRegistry, allowed: Sequence[IPv4Network | IPv6Network]
    ) -> None:
        """Listen. Who comes over TCP must be of an ``allowed`` network. Raises OSError."""
        self._endpoint = endpoint
        self._allowed = allowed
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        where: Any
        if endpoint.path is not None:
            self.address_family, where = socket.AF_UNIX, str(endpoint.path)
        else:
            self.address_family = socket.AF_INET if "." in str(endpoint.address) else socket.AF_INET6
            where = str(endpoint.address), endpoint.port
        super().__init__(where, _Handler)
        self.set_app(_only_metrics(make_wsgi_app(registry)))

    def server_bind(self) -> None:
        """Bind, in place of a socket that an ended process left behind, and without asking for names."""
        path = self._endpoint.path
        if path is not None:
            if _alive(str(path)):
                raise OSError(f"{path}: in use by another process")
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        socketserver.TCPServer.server_bind(self)
        if path is not None:
            # For root and the group of this program.
            path.chmod(0o660)
        self.server_name, self.server_port = "localhost", self._endpoint.port
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client; those of a Unix socket get a name, which they do not have."""
        client, address = self.socket.accept()
        return client, address or ("unix", 0)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Tell whether a client may ask."""
        del request
        if self._endpoint.path is not None:
            return True
        client = ip_address(client_address[0].partition("%")[0])
        return any(client in network for network in self._allowed)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, unless all are busy."""
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and let the next one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away."""

    def server_close(self) -> None:
        """Stop listening, and leave no socket behind."""
        super().server_close()
        if self._endpoint.path is not None:
            self._endpoint.path.unlink(missing_ok=True)


def _only_metrics(inner: Callable[..., Any]) -> Callable[..., Iterable[bytes]]:
    """Return an application that knows one page, whole."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("REQUEST_METHOD") not in {"GET", "HEAD"}:
            return _say(start_response, "405 Method Not Allowed", b"expected GET\n")
        if environ.get("PATH_INFO") != "/metrics":
            return _say(start_response, "404 Not Found", b"expected /metrics\n")
        found: Iterable[bytes] = inner({**environ, "QUERY_STRING": ""}, start_response)
        return found

    return application


def _say(start_response: Callable[..., Any], status: str, text: bytes) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))])
    return [text]


def _alive(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True
