# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP server for metrics: few at a time, none for long, and only for those who may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

from mpquic.io.httpserver import Bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from prometheus_client import CollectorRegistry

    from mpquic.io.listen import Endpoint

#: Requests at a time, and seconds for one exchange with a slow client.
MAX_REQUESTS = 4
TIMEOUT = 5


class _Handler(WSGIRequestHandler):
    """One request. Nothing is logged: whoever may ask does so all day."""

    timeout = TIMEOUT

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


class Server(Bounded, WSGIServer):
    """Serves ``/metrics`` at an endpoint."""

    max_requests = MAX_REQUESTS

    def __init__(
        self, endpoint: Endpoint, registry: CollectorRegistry, allowed: Sequence[IPv4Network | IPv6Network]
    ) -> None:
        """Listen. Who comes over TCP must be of an ``allowed`` network. Raises OSError."""
        super().__init__(endpoint, _Handler, allowed)
        self.set_app(_only_metrics(make_wsgi_app(registry)))

    def server_bind(self) -> None:
        """Bind, and make what each request is told of this server."""
        super().server_bind()
        self.setup_environ()


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
