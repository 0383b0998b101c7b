# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets that belong to another network namespace than the process that uses them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_ETH_P_ALL = 3
_BUFFER = 1 << 24
_SO_RCVBUFFORCE = 33
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread make its sockets in a namespace. They stay there."""
    with Path("/proc/thread-self/ns/net").open("rb") as own, Path("/run/netns", namespace).open("rb") as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def udp(
    namespace: str, local: tuple[str, int] = ("0.0.0.0", 0), remote: tuple[str, int] | None = None
) -> socket.socket:
    """Return a UDP socket that never waits."""
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    with inside(namespace):
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(local)
    if remote is not None:
        sock.connect(remote)
    return sock


def tap(namespace: str, device: str) -> socket.socket:
    """Return a socket that gets the IP packets of a device, in both directions, and never waits."""
    with inside(namespace):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.bind((device, _ETH_P_ALL))
    return sock


def tapped(sock: socket.socket, *, outgoing: bool) -> list[bytes]:
    """Return the packets that went this way since the last call, as the namespace sees it."""
    packets = []
    with contextlib.suppress(BlockingIOError):
        while True:
            data, (_device, _protocol, kind, *_rest) = sock.recvfrom(65535)
            if (kind == socket.PACKET_OUTGOING) == outgoing:
                packets.append(data)
    return packets


def received(sock: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    """Return the datagrams that have arrived, each with its source."""
    datagrams = []
    while True:
        try:
            datagrams.append(sock.recvfrom(65535))
        except BlockingIOError:
            return datagrams
        except ConnectionRefusedError:
            continue


def memory(pid: int) -> float:
    """Return the resident memory of a process (MB)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
