# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the resolvers of this host answer, asked directly: by a question that each of them can answer."""

from __future__ import annotations

import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = Path("/etc/resolv.conf")
#: Seconds for an answer; and questions, since any datagram can be lost.
PATIENCE = 0.5
_QUESTIONS = 3
_PORT = 53
#: RFC 1035 section 4.1: a recursive query for the start of authority of the root, whose answer has about 100 bytes.
_QUESTION = struct.pack("!HHHHHBHH", 0x0100, 1, 0, 0, 0, 0, 6, 1)
_HEADER = 12
_SERVFAIL = 2
_MOST = 8


def resolvers(file: Path = FILE) -> list[str]:
    """Return the addresses of the resolvers in resolv.conf(5), none where there is no such file."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return list(dict.fromkeys(found[1] for found in words if len(found) > 1 and found[0] == "nameserver"))


def faults(addresses: Sequence[str], *, port: int = _PORT) -> dict[str, str]:
    """Return what is wrong with each resolver that is of no use, by address. They are asked at the same time."""
    with ThreadPoolExecutor(max_workers=_MOST) as pool:
        answers = pool.map(lambda address: _fault(address, port), addresses)
        return {address: fault for address, fault in zip(addresses, answers, strict=True) if fault is not None}


def _fault(address: str, port: int) -> str | None:
    """Return what is wrong with a resolver, None when it answers as it should."""
    fault = "does not answer"
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect((address, port))
            for _question in range(_QUESTIONS):
                number = os.urandom(2)
                sock.send(number + _QUESTION)
                try:
                    data = sock.recv(4096)
                except TimeoutError:
                    continue
                if len(data) < _HEADER or data[:2] != number:
                    continue
                return "finds nothing (SERVFAIL)" if data[3] & 0xF == _SERVFAIL else None
    except OSError as error:
        fault = f"does not answer: {error.strerror or error}"
    return fault
