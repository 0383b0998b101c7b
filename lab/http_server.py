# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server of the lab's internet.

usage: http_server.py ADDRESS PAYLOAD LOG

GET /                 a small page
GET /ip               the client's address
GET /100M.bin         the payload file;  GET /100M.bin.sha256 its digest
GET /bytes/N          the first N bytes of the payload repeated without end

LOG gets one line per request: time, client, method, path, status, bytes sent.
"""

import hashlib
import sys
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

PAGE = b"<!doctype html><title>internet</title><p>This is the internet behind the VPS.\n"
BYTES_MAX = 10**12
CHUNK = 1 << 18  # the log is exact to this when a client leaves early


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    payload: ClassVar[Path]
    digest: ClassVar[str]
    log: ClassVar[Path]
    protocol_version = "HTTP/1.1"
    timeout = 60  # s; a client that a test cut off must not stay

    def do_GET(self) -> None:
        """Answer."""
        client = self.client_address[0]
        match self.path.split("/"):
            case ["", ""]:
                self.text(PAGE)
            case ["", "ip"]:
                self.text(f"{client}\n".encode())
            case ["", "100M.bin"]:
                self.data(self.payload.stat().st_size)
            case ["", "100M.bin.sha256"]:
                self.text(f"{self.digest}  100M.bin\n".encode())
            case ["", "bytes", count] if count.isdecimal() and int(count) <= BYTES_MAX:
                self.data(int(count))
            case _:
                self.text(b"not here\n", HTTPStatus.NOT_FOUND)

    def text(self, body: bytes, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send a short answer."""
        self.head(len(body), status)
        self.wfile.write(body)
        self.note(status, len(body))

    def data(self, count: int) -> None:
        """Send bytes of the payload."""
        self.head(count, HTTPStatus.OK)
        left = count
        try:
            with self.payload.open("rb") as file:
                size = self.payload.stat().st_size
                while left:
                    position = (count - left) % size
                    left -= self.connection.sendfile(file, position, min(left, size - position, CHUNK))
        finally:
            self.note(HTTPStatus.OK, count - left)

    def head(self, length: int, status: HTTPStatus) -> None:
        """Send the header lines."""
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def note(self, status: HTTPStatus, count: int) -> None:
        """Write the log's line."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self.log.open("a") as log:
            log.write(f"{time} {self.client_address[0]} {self.command} {self.path} {status.value} {count}\n")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave it to `note`, which knows the bytes sent."""


class Server(ThreadingHTTPServer):
    """Takes many clients at once."""

    request_queue_size = 64


def main(address: str, payload: str, log: str) -> None:
    """Serve until the process is ended."""
    Handler.payload = Path(payload)
    Handler.digest = hashlib.sha256(Handler.payload.read_bytes()).hexdigest()
    Handler.log = Path(log)
    server = Server((address, 80), Handler)
    Handler.log.touch()  # whoever waits sees that the port is open
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
