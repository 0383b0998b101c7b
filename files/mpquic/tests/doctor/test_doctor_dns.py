# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolvers that answer, refuse, are silent or not there: real sockets."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
from mpquic.host.doctor import dns

if TYPE_CHECKING:
    from pathlib import Path


def fault(flags: bytes | None) -> str | None:
    """Ask a resolver that answers with these flags, or not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)

        def answer() -> None:
            data, where = sock.recvfrom(512)
            if flags is not None:
                sock.sendto(data[:2] + flags + data[4:], where)

        thread = threading.Thread(target=answer)
        thread.start()
        found = dns.faults(["127.0.0.1"], port=sock.getsockname()[1])
        thread.join()
    return found.get("127.0.0.1")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (b"\x81\x80", None),
        # Not for everybody, but there.
        (b"\x81\x85", None),
        (b"\x81\x82", "finds nothing (SERVFAIL)"),
        (None, "does not answer"),
    ],
)
def test_what_a_resolver_says(flags: bytes | None, expected: str | None) -> None:
    assert fault(flags) == expected


def test_a_port_where_nobody_is() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert dns.faults(["127.0.0.1"], port=port) == {"127.0.0.1": "does not answer: Connection refused"}


def test_the_file(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    assert dns.resolvers(file) == []
    file.write_text(
        "search example.net\n# nameserver 192.0.2.9\nnameserver 192.0.2.1\nnameserver\nnameserver fe80::1%eth0\n"
    )
    assert dns.resolvers(file) == ["192.0.2.1", "fe80::1%eth0"]
