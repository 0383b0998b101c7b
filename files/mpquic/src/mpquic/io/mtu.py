# SPDX-License-Identifier: GPL-3.0-or-later
"""The MTU of a network device, read and set by ioctl (netdevice(7))."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGIFMTU = 0x8921
_SIOCSIFMTU = 0x8922
_IFREQ = struct.Struct("16si20x")


def get_mtu(name: str) -> int:
    """Return the MTU of a device (bytes). Raises OSError, with ENODEV when there is none of that name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        answer = fcntl.ioctl(asker.fileno(), _SIOCGIFMTU, _IFREQ.pack(name.encode(), 0))
    mtu: int = _IFREQ.unpack(answer)[1]
    return mtu


def set_mtu(name: str, mtu: int) -> None:
    """Set the MTU of a device (bytes). Raises OSError, with EPERM without CAP_NET_ADMIN."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        fcntl.ioctl(asker.fileno(), _SIOCSIFMTU, _IFREQ.pack(name.encode(), mtu))
