# SPDX-License-Identifier: GPL-3.0-or-later
"""An existing persistent TUN device, opened for reading and writing IP packets (kernel: networking/tuntap.rst)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from mpquic.core.offload import BareCodec

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from mpquic.core.offload import Codec
    from mpquic.core.types import Frame

_DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_TUNGETIFF = 0x800454D2
_IFF_TUN = 0x0001
_IFF_PERSIST = 0x0800
_IFF_NO_PI = 0x1000
_IFREQ = struct.Struct("16sH22x")

#: Packets taken per wake-up, so that the socket gets its turn.
BATCH = 64
#: Room for one packet (bytes): above the largest MTU a configuration may ask for.
_PACKET_ROOM = 9216
_GONE = {errno.EBADFD, errno.ENODEV}


class TunError(Exception):
    """The device cannot be opened; the text says why and what helps."""


class TunBusyError(TunError):
    """Another process holds the device (EBUSY); it becomes free when that process lets go."""


class TunGoneError(Exception):
    """The device was removed while it was open."""


class TunDevice:
    """One open TUN device."""

    def __init__(self, name: str, fd: int, drops: Counter[str]) -> None:
        """Take over ``fd``. Packets that the kernel refuses count in ``drops``."""
        self.name = name
        self._fd = fd
        self._drops = drops
        #: How packets are read from and written to this device.
        self.codec: Codec = BareCodec()

    def fileno(self) -> int:
        """Return the file descriptor, for the event loop."""
        return self._fd

    def close(self) -> None:
        """Detach; the device stays."""
        os.close(self._fd)

    def read(self) -> list[bytes]:
        """Return the packets the kernel has for us, up to BATCH. Raises TunGoneError when the device was removed."""
        packets: list[bytes] = []
        read, fd = os.read, self._fd
        try:
            for _packet in range(BATCH):
                packets.append(read(fd, _PACKET_ROOM))  # noqa: PERF401 - what was read before an error counts
        except BlockingIOError:
            pass
        except OSError as error:
            # EIO: the device is being unregistered; being merely down makes read() wait.
            if error.errno in _GONE or error.errno == errno.EIO:
                raise TunGoneError(error.strerror) from error
            self._drops["tun_read"] += 1
        return packets

    def write(self, frames: Iterable[Frame]) -> None:
        """Hand packets to the kernel. Refused ones are dropped and counted. Raises TunGoneError as read() does."""
        write, fd = os.writev, self._fd
        for frame in frames:
            try:
                write(fd, frame)
            except OSError as error:
                if error.errno in _GONE:
                    raise TunGoneError(error.strerror) from error
                self._drops[_write_fault(error.errno)] += 1


def _write_fault(code: int | None) -> str:
    if code == errno.EIO:
        return "tun_down"
    if code in {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}:
        return "tun_full"
    return "tun_refused"


def open_tun(name: str, drops: Counter[str]) -> TunDevice:
    """Open the persistent TUN device ``name``; never create one. Raises TunError, TunBusyError among them."""
    help_text = f"create it with: mpquic tun ensure --name {name} --cidr ADDRESS/PREFIX"
    try:
        socket.if_nametoindex(name)
    except OSError as error:
        raise TunError(f"TUN device {name} does not exist, {help_text}") from error
    try:
        fd = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TunError(f"{_DEVICE}: {error.strerror}") from error
    try:
        fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode(), _IFF_TUN | _IFF_NO_PI))
        flags: int = _IFREQ.unpack(fcntl.ioctl(fd, _TUNGETIFF, bytes(_IFREQ.size)))[1]
    except OSError as error:
        os.close(fd)
        if error.errno == errno.EBUSY:
            raise TunBusyError(f"TUN device {name}: in use by another process") from error
        raise TunError(f"TUN device {name}: {_attach_fault(error)}") from error
    if not flags & _IFF_PERSIST:
        # It went away between the two calls and a privileged open has just made a new one: closing removes it.
        os.close(fd)
        raise TunError(f"TUN device {name} is not persistent, {help_text}")
    return TunDevice(name, fd, drops)


def _attach_fault(error: OSError) -> str:
    if error.errno == errno.EPERM:
        return f"not owned by uid {os.geteuid()}, mpquic tun ensure sets the owner"
    if error.errno == errno.EINVAL:
        return "not a TUN device without packet information, or of another kind (TAP, multi-queue)"
    return str(error.strerror)
