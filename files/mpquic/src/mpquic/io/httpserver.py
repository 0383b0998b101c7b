# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP servers of this host: few requests at a time, none for long, and only for those who may ask."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections import Counter
from http.server import HTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from http.server import BaseHTTPRequestHandler
    from ipaddress import IPv4Network, IPv6Network

    from mpquic.io.listen import Endpoint

#: linux/in.h: an address may come to the host later than this program.
_IP_FREEBIND = 15


class Bounded(socketserver.ThreadingMixIn, HTTPServer):
    """Serves at an endpoint, ``max_requests`` connections at a time, ``max_each`` of them of one address."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16
    max_requests = 4
    max_each = 4

    def __init__(
        self,
        endpoint: Endpoint,
        handler: type[BaseHTTPRequestHandler],
        allowed: Sequence[IPv4Network | IPv6Network],
    ) -> None:
        """Listen. Who comes over TCP must be of an ``allowed`` network. Raises OSError."""
        self._endpoint = endpoint
        self._allowed = allowed
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        where: Any
        if endpoint.path is not None:
            self.address_family, where = socket.AF_UNIX, str(endpoint.path)
        else:
            self.address_family = socket.AF_INET if "." in str(endpoint.address) else socket.AF_INET6
            where = str(endpoint.address), endpoint.port
        super().__init__(where, handler)

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
        with self._lock:
            free = self._busy.total() < self.max_requests and self._busy[client_address[0]] < self.max_each
            if free:
                self._busy[client_address[0]] += 1
        if free:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and let the next one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._busy[client_address[0]] -= 1
                # Forget those that are gone.
                self._busy += Counter()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away."""

    def server_close(self) -> None:
        """Stop listening, and leave no socket behind."""
        super().server_close()
        if self._endpoint.path is not None:
            self._endpoint.path.unlink(missing_ok=True)


def _alive(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True
