# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process and its children use: CPU time and memory, from /proc."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PROC = Path("/proc")


def family(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    for thread in _threads(pid):
        with contextlib.suppress(OSError):
            for child in (thread / "children").read_text().split():
                yield from family(int(child))


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds of all threads of these processes and their children (proc(5), schedstat: ns)."""
    total = 0
    for pid in pids:
        for member in family(pid):
            for thread in _threads(member):
                with contextlib.suppress(OSError):
                    total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process and its children in MB (10^6 bytes), 0 when it is gone."""
    total = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            for line in (_PROC / str(member) / "status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
    return total * 1024 / 1e6


def listens(pid: int, address: str, port: int) -> bool:
    """Tell whether a TCP socket listens on an IPv4 address in the network namespace of a process (proc(5), net/tcp)."""
    # The kernel prints the address as a number of the host's byte order, and 0A for a socket that listens.
    number = int.from_bytes(socket.inet_aton(address), sys.byteorder)
    wanted = f"{number:08X}:{port:04X}"
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "net" / "tcp").read_text().splitlines()[1:]:
            words = line.split()
            if words[1] == wanted and words[3] == "0A":
                return True
    return False


def _threads(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []
