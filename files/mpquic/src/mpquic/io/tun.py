# SPDX-License-Identifier: GPL-3.0-or-later
"""An existing persistent TUN device, opened for reading and writing IP packets (kernel: networking/tuntap.rst)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING, Protocol

from mpquic.core.offload import BareCodec, VnetCodec
from mpquic.core.offload.vnet import SIZE

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
_IFF_VNET_HDR = 0x4000
_IFREQ = struct.Struct("16sH22x")

# linux/if_tun.h: what the kernel may leave to the reader of the device, best first. Linux before 6.2 has no USO.
_TUNSETOFFLOAD = 0x400454D0
_TUNSETVNETHDRSZ = 0x400454D8
_TUNSETVNETLE = 0x400454DC
_TUN_F_CSUM = 0x01
_TUN_F_TSO = 0x02 | 0x04
_TUN_F_TSO_ECN = 0x08
_TUN_F_USO = 0x20 | 0x40
_OFFLOADS = (
    _TUN_F_CSUM | _TUN_F_TSO | _TUN_F_TSO_ECN | _TUN_F_USO,
    _TUN_F_CSUM | _TUN_F_TSO | _TUN_F_TSO_ECN,
    _TUN_F_CSUM | _TUN_F_TSO,
    _TUN_F_CSUM,
)

#: Packets taken per wake-up, so that the socket gets its turn; and bytes, of which the last packet may take more. With
#: offload one packet has up to 64 kB: this is what 128 full segments have.
BATCH = 64
BATCH_BYTES = 128 * 1400
#: Room for one packet (bytes): the largest there is, an IPv6 header and 65535 bytes, behind its vnet header.
_PACKET_ROOM = SIZE + 40 + 65535
_GONE = {errno.EBADFD, errno.ENODEV}


class TunError(Exception):
    """The device cannot be opened; the text says why and what helps."""


class TunBusyError(TunError):
    """Another process holds the device (EBUSY); it becomes free when that process lets go."""


class TunGoneError(Exception):
    """The device was removed while it was open."""


class TunDevice:
    """One open TUN device."""

    def __init__(self, name: str, fd: int, drops: Counter[str], codec: Codec) -> None:
        """Take over ``fd``, which speaks as ``codec`` does. Packets that the kernel refuses count in ``drops``."""
        self.name = name
        self._fd = fd
        self._drops = drops
        #: How packets are read from and written to this device.
        self.codec = codec

    def fileno(self) -> int:
        """Return the file descriptor, for the event loop."""
        return self._fd

    def close(self) -> None:
        """Detach; the device stays."""
        os.close(self._fd)

    def read(self) -> list[bytes]:
        """Return the packets the kernel has for us, up to BATCH and BATCH_BYTES.

        Raises TunGoneError when the device was removed.
        """
        packets: list[bytes] = []
        read, fd, room = os.read, self._fd, BATCH_BYTES
        try:
            for _packet in range(BATCH):
                packet = read(fd, _PACKET_ROOM)
                packets.append(packet)
                room -= len(packet)
                if room <= 0:
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            self._read_failed(error)
        return packets

    def write(self, frames: Iterable[Frame]) -> None:
        """Hand packets to the kernel. Refused ones are dropped and counted. Raises TunGoneError as read() does."""
        write, fd = os.writev, self._fd
        for frame in frames:
            try:
                write(fd, frame)
            except OSError as error:
                self._write_failed(error)

    def _read_failed(self, error: OSError) -> None:
        # EIO: the device is being unregistered; being merely down makes read() wait.
        if error.errno in _GONE or error.errno == errno.EIO:
            raise TunGoneError(error.strerror) from error
        self._drops["tun_read"] += 1

    def _write_failed(self, error: OSError) -> None:
        if error.errno in _GONE:
            raise TunGoneError(error.strerror) from error
        self._drops[_write_fault(error.errno)] += 1


def _write_fault(code: int | None) -> str:
    if code == errno.EIO:
        return "tun_down"
    if code in {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}:
        return "tun_full"
    return "tun_refused"


class TakeDevice(Protocol):
    """Makes a TunDevice, or a twin of it, of one with offload that is open."""

    def __call__(self, name: str, fd: int, drops: Counter[str], *, udp: bool) -> TunDevice:
        """Take over ``fd``; ``udp`` tells whether the device takes merged UDP."""


def take_device(name: str, fd: int, drops: Counter[str], *, udp: bool) -> TunDevice:
    """See TakeDevice."""
    return TunDevice(name, fd, drops, VnetCodec(udp=udp))


def open_tun(name: str, drops: Counter[str], take: TakeDevice = take_device) -> TunDevice:
    """Open the persistent TUN device ``name``; never create one. Raises TunError, TunBusyError among them.

    ``take`` makes what is returned of a device with offload.
    """
    help_text = f"create it with: mpquic tun ensure --name {name} --cidr ADDRESS/PREFIX"
    try:
        socket.if_nametoindex(name)
    except OSError as error:
        raise TunError(f"TUN device {name} does not exist, {help_text}") from error
    fd = _attach(name, help_text, _IFF_VNET_HDR)
    granted = _offload(fd)
    if granted is not None:
        return take(name, fd, drops, udp=bool(granted & _TUN_F_USO))
    os.close(fd)
    fd = _attach(name, help_text, 0)
    # Whoever had the device before may have left it with offloads, and the kernel would go on handing over packets of
    # 64 kB. A kernel that cannot take them back never gave them.
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, _TUNSETOFFLOAD, 0)
    return TunDevice(name, fd, drops, BareCodec())


def adopt_tun(name: str, fd: int, drops: Counter[str], take: TakeDevice = take_device) -> TunDevice:
    """Take over the TUN device ``name`` that another process has opened as ``fd``; see open_tun(). Raises TunError."""
    try:
        asked, flags = _IFREQ.unpack(fcntl.ioctl(fd, _TUNGETIFF, bytes(_IFREQ.size)))
    except OSError as error:
        raise TunError(f"descriptor {fd} is not that of a TUN device: {error.strerror}") from error
    found = asked.partition(b"\0")[0].decode(errors="replace")
    if found != name:
        raise TunError(f"descriptor {fd}: found the TUN device {found}, expected {name}")
    granted = _offload(fd) if flags & _IFF_VNET_HDR else None
    if granted is None:
        return TunDevice(name, fd, drops, BareCodec())
    return take(name, fd, drops, udp=bool(granted & _TUN_F_USO))


def _attach(name: str, help_text: str, flags: int) -> int:
    try:
        fd = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TunError(f"{_DEVICE}: {error.strerror}") from error
    try:
        fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode(), _IFF_TUN | _IFF_NO_PI | flags))
        found: int = _IFREQ.unpack(fcntl.ioctl(fd, _TUNGETIFF, bytes(_IFREQ.size)))[1]
    except OSError as error:
        os.close(fd)
        if error.errno == errno.EBUSY:
            raise TunBusyError(f"TUN device {name}: in use by another process") from error
        raise TunError(f"TUN device {name}: {_attach_fault(error)}") from error
    if not found & _IFF_PERSIST:
        # It went away between the two calls and a privileged open has just made a new one: closing removes it.
        os.close(fd)
        raise TunError(f"TUN device {name} is not persistent, {help_text}")
    return fd


def _offload(fd: int) -> int | None:
    """Ask for as much offload as the kernel grants; None for none at all."""
    try:
        # Both stay as an earlier opener has left them.
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("i", SIZE))
        fcntl.ioctl(fd, _TUNSETVNETLE, struct.pack("i", 1))
    except OSError:
        return None
    for offload in _OFFLOADS:
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, _TUNSETOFFLOAD, offload)
            return offload
    return None


def _attach_fault(error: OSError) -> str:
    if error.errno == errno.EPERM:
        return f"not owned by uid {os.geteuid()}, mpquic tun ensure sets the owner"
    if error.errno == errno.EINVAL:
        return "not a TUN device without packet information, or of another kind (TAP, multi-queue)"
    return str(error.strerror)
