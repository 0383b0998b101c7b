# SPDX-License-Identifier: GPL-3.0-or-later
"""What two processes of one instance say to each other: whole messages in order, with file descriptors (unix(7))."""

from __future__ import annotations

import array
import os
import socket

#: Longest message (bytes): one read of a TUN or of a UDP socket, and what is said about it.
MAX_MESSAGE = 72 * 1024
#: Messages that are taken per call, and file descriptors with one.
BATCH = 64
MAX_FDS = 16
#: Wanted for what is on its way (bytes); the kernel grants up to net.core.wmem_max.
_BUFFER = 4 * 1024 * 1024
_SPACE = socket.CMSG_LEN(MAX_FDS * array.array("i").itemsize)


class ChannelError(Exception):
    """The other process is gone, or said what is no message; the text says which."""


class Channel:
    """One end. A message is a kind (0 to 255), a body, and the file descriptors that come with it."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over an end of pair(). Raises ValueError for another kind of socket."""
        if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_SEQPACKET:
            raise ValueError("expected a Unix socket of type SOCK_SEQPACKET")
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._sock = sock
        #: Messages that the kernel had no room for.
        self.dropped = 0

    def fileno(self) -> int:
        """Return the file descriptor, for the event loop."""
        return self._sock.fileno()

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def send(self, kind: int, body: bytes, fds: tuple[int, ...] = ()) -> None:
        """Send a message; the descriptors stay open here. Raises ChannelError, also when there is no room."""
        try:
            socket.send_fds(self._sock, [bytes([kind]) + body], fds)
        except OSError as error:
            raise ChannelError(f"the other process does not listen: {error.strerror or error}") from error

    def offer(self, kind: int, body: bytes) -> None:
        """Send a message that may be lost for want of room, or because nobody listens any more."""
        try:
            self._sock.send(bytes([kind]) + body)
        except OSError:
            self.dropped += 1

    def receive(self) -> list[tuple[int, bytes, list[int]]]:
        """Return the messages that have arrived: kind, body, and descriptors, which the caller closes.

        Raises ChannelError when the other process has hung up, or sent what is too long.
        """
        found: list[tuple[int, bytes, list[int]]] = []
        while len(found) < BATCH:
            try:
                # socket.recv_fds() of Python 3.11 leaves out the flags.
                data, ancillary, flags, _address = self._sock.recvmsg(MAX_MESSAGE, _SPACE, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                break
            except OSError as error:
                raise ChannelError(f"the other process is gone: {error.strerror or error}") from error
            fds = _descriptors(ancillary)
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                close_all(fds)
                raise ChannelError(f"found a message longer than {MAX_MESSAGE} bytes or {MAX_FDS} descriptors")
            if not data:
                if found:
                    break
                raise ChannelError("the other process has hung up")
            found.append((data[0], data[1:], fds))
        return found


def pair() -> tuple[Channel, socket.socket]:
    """Return an end for this process and the socket of the other end, for a child."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # What a process sends is charged to itself: both ends get the room.
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return Channel(ours), theirs


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def close_all(fds: list[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)
