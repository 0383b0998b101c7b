# SPDX-License-Identifier: GPL-3.0-or-later
"""The keeper: sets the MTU of TUN devices for daemons that have no capability (docs/privileges.md).

One request and one answer per connection of a Unix stream socket, each a line of JSON:

    {"command": "set-mtu", "name": "mpq1", "mtu": 1361}
    {"before": 1441, "mtu": 1361}

A refusal says what, where, what was found and what was expected:

    {"error": "bad-mtu", "where": "mtu", "found": "10", "expected": "576 to 9000"}
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pwd
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpquic.host.errors import HostError, UsageError
from mpquic.host.netlink import Kernel
from mpquic.host.tun import check_name

if TYPE_CHECKING:
    from mpquic.host.state import Link

_LOG = logging.getLogger("mpquic")

COMMAND = "set-mtu"
#: Bytes: from what every IPv4 host takes (RFC 791 section 3.1) to what `tun_mtu` may be.
MTU_RANGE = (576, 9000)
#: Bytes of one request without its line end; seconds for it to arrive; seconds without any after which the keeper ends.
MAX_REQUEST = 256
TIMEOUT = 2.0
IDLE = 60.0

_FIRST_FD = 3
_UCRED = struct.Struct("3i")
_EXAMPLE = f'one line such as {{"command": "{COMMAND}", "name": "mpq1", "mtu": 1361}}'


class RefusedError(Exception):
    """A request that is not granted."""

    def __init__(self, kind: str, where: str, found: str, expected: str) -> None:
        """Say what is wrong (``kind``, for programs), where, what was there and what should have been."""
        super().__init__(f"{where}: found {found}, expected {expected}")
        self.answer = {"error": kind, "where": where, "found": found, "expected": expected}


@dataclass(frozen=True, slots=True)
class Request:
    """The one thing that can be asked for: give the TUN ``name`` this MTU (bytes)."""

    name: str
    mtu: int


def parse(line: bytes) -> Request:
    """Return what a line of at most `MAX_REQUEST` bytes asks for.

    Raises:
        RefusedError: it asks for anything else.

    """
    try:
        found = json.loads(line.decode("ascii"), object_pairs_hook=_distinct)
    except ValueError:
        raise RefusedError("malformed", "request", _shown(line), _EXAMPLE) from None
    if not isinstance(found, dict):
        raise RefusedError("malformed", "request", _shown(line), _EXAMPLE)
    command, name, mtu = found.pop("command", None), found.pop("name", None), found.pop("mtu", None)
    if command != COMMAND:
        raise RefusedError("unknown-command", "command", _shown(command), COMMAND)
    if found:
        raise RefusedError("malformed", "request", _shown(min(found)), "no key but command, name and mtu")
    low, high = MTU_RANGE
    if not isinstance(mtu, int) or not low <= mtu <= high:
        raise RefusedError("bad-mtu", "mtu", _shown(mtu), f"{low} to {high}")
    try:
        check_name(name if isinstance(name, str) else "")
    except UsageError:
        raise RefusedError("bad-name", "name", _shown(name), "1 to 15 letters, digits, '_', '.' or '-'") from None
    return Request(name, mtu)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def set_mtu(request: Request, uid: int) -> int:
    """Set the MTU of a TUN that belongs to ``uid`` and return the one before (bytes).

    The device is looked up once, and what was found is changed by its index: another one that has taken the name
    meanwhile has another index, which the kernel gives in ascending order.

    Raises:
        RefusedError: there is no such device, it is none of this user's, or the kernel refuses.

    """
    name = request.name
    try:
        with Kernel() as kernel:
            link = kernel.link(name)
            if link is None:
                raise RefusedError("no-device", "name", f"no device {name}", f"a TUN of uid {uid}")
            _check_owner(link, uid)
            if link.mtu != request.mtu:
                kernel.set_mtu(link.index, request.mtu)
    except (HostError, OSError) as error:
        raise RefusedError("failed", "kernel", str(error), f"MTU {request.mtu} of {name} to be set") from error
    return link.mtu


def _check_owner(link: Link, uid: int) -> None:
    if link.tun is None or link.tun.tap:
        kind = "a TAP" if link.tun else f"a device of kind {link.kind or 'hardware'}"
        raise RefusedError("not-a-tun", "name", f"{link.name}, {kind}", f"a TUN of uid {uid}")
    if link.tun.owner != uid:
        owner = "nobody" if link.tun.owner is None else f"uid {link.tun.owner}"
        raise RefusedError("not-owned", "name", f"{link.name} of {owner}", f"a TUN of uid {uid}")


def serve(listener: socket.socket, user: int) -> None:
    """Answer root and this user id, one after the other, until nobody has asked for `IDLE` seconds.

    Nobody is lost in that moment: the service manager holds the socket as well, and starts another keeper.
    """
    listener.settimeout(IDLE)
    while True:
        try:
            connection, _address = listener.accept()
        except TimeoutError:
            return
        with connection, contextlib.suppress(OSError):  # whoever has gone away needs no answer
            connection.sendall(json.dumps(_answer(connection, user)).encode() + b"\n")


def _answer(connection: socket.socket, user: int) -> dict[str, Any]:
    pid, uid, _gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    try:
        # Read first: whoever is sent away while it still writes may not see why.
        line = _line(connection)
        if uid not in {0, user}:
            raise RefusedError("not-allowed", "peer", f"uid {uid}", f"root or uid {user}")  # noqa: TRY301 - one of many
        request = parse(line)
        before = set_mtu(request, uid)
    except RefusedError as error:
        _LOG.error('refused uid=%d pid=%d reason="%s"', uid, pid, error)
        return error.answer
    if before != request.mtu:
        _LOG.info("mtu set name=%s mtu=%d before=%d uid=%d pid=%d", request.name, request.mtu, before, uid, pid)
    return {"before": before, "mtu": request.mtu}


def _line(connection: socket.socket) -> bytes:
    deadline = time.monotonic() + TIMEOUT
    data = b""
    while b"\n" not in data:
        if len(data) > MAX_REQUEST:
            raise RefusedError("too-long", "request", f"more than {MAX_REQUEST} bytes", _EXAMPLE)
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = connection.recv(MAX_REQUEST + 1 - len(data))
        except TimeoutError:
            raise RefusedError("timeout", "request", f"no whole line in {TIMEOUT:.0f} s", _EXAMPLE) from None
        if not part:
            raise RefusedError("malformed", "request", "no line end", _EXAMPLE)
        data += part
    return data.partition(b"\n")[0]


def user_id(name: str) -> int:
    """Return the id of a user.

    Raises:
        UsageError: there is none of that name.

    """
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(f"user {name}: there is no such user") from None


def inherited() -> socket.socket:
    """Return the listening socket that the service manager has opened for this process (sd_listen_fds(3)).

    Raises:
        UsageError: there is none.

    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        listener = socket.socket(fileno=_FIRST_FD)
        listener.set_inheritable(False)
        if listener.family == socket.AF_UNIX and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return listener
    raise UsageError("found no listening Unix socket, expected to be started by mpquic-keeper.socket")
