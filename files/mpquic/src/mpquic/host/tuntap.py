# SPDX-License-Identifier: GPL-3.0-or-later
"""Creation and ownership of TUN devices through /dev/net/tun (kernel doc networking/tuntap)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

from mpquic.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOWNER = 0x400454CC
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_MULTI_QUEUE = 0x0100
_IFF_TUN_EXCL = 0x8000


def create(name: str, owner: int) -> None:
    """Create a persistent TUN; `owner` is the user id that may attach to it. Without one, every user might.

    Raises:
        HostError: it exists, or the kernel refuses.

    """
    with _attached(name, _IFF_TUN_EXCL) as descriptor:
        fcntl.ioctl(descriptor, _TUNSETOWNER, owner)
        fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)


def set_owner(name: str, owner: int, *, multi_queue: bool) -> None:
    """Give an existing TUN to another user.

    Raises:
        HostError: a program is attached to it, or the kernel refuses.

    """
    with _attached(name, _IFF_MULTI_QUEUE if multi_queue else 0) as descriptor:
        fcntl.ioctl(descriptor, _TUNSETOWNER, owner)


@contextlib.contextmanager
def _attached(name: str, flags: int) -> Iterator[int]:
    try:
        descriptor = os.open(NODE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"cannot open {NODE}: {error.strerror}") from error
    try:
        request = struct.pack("16sH22x", name.encode("ascii"), _IFF_TUN | _IFF_NO_PI | flags)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
        yield descriptor
    except OSError as error:
        text = "a running program is attached to it" if error.errno == errno.EBUSY else error.strerror
        raise HostError(str(text)) from error
    finally:
        os.close(descriptor)
