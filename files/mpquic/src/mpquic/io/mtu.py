# SPDX-License-Identifier: GPL-3.0-or-later
"""The MTU of a network device: read and set by ioctl (netdevice(7)), or set through the keeper."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct

from mpquic.io.keeper import KeeperError, ask_mtu

_LOG = logging.getLogger("mpquic")

_SIOCGIFMTU = 0x8921
_SIOCSIFMTU = 0x8922
_IFREQ = struct.Struct("16si20x")

#: Seconds until the keeper is asked again after the first failure, twice as many after each more, and at most.
RETRY = (1.0, 60.0)


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


class MtuSetter:
    """Sets the MTU of one TUN: itself where it may, else by asking the keeper until it is done. Never waits."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        """Serve the device ``name``; ask on ``loop``."""
        self._name = name
        self._loop = loop
        self._asked: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._fault: str | None = None

    def set(self, mtu: int) -> None:
        """Bring the device to this MTU (bytes), now or as soon as the keeper does it. Each fault is logged once."""
        if self._task is not None and mtu == self._asked:
            return
        self.stop()
        try:
            found = get_mtu(self._name)
            if found != mtu:
                set_mtu(self._name, mtu)
                self._done(mtu, found)
        except PermissionError as error:
            self._asked = mtu
            self._task = self._loop.create_task(self._ask(mtu, str(error.strerror)))
        except OSError as error:
            self._failed(mtu, error.strerror or str(error))

    def stop(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _ask(self, mtu: int, own_fault: str) -> None:
        pause, longest = RETRY
        while True:
            try:
                self._done(mtu, await ask_mtu(self._name, mtu))
            except KeeperError as error:
                self._failed(mtu, f"{own_fault}, {error}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                self._task = None
                return

    def _done(self, mtu: int, before: int) -> None:
        self._fault = None
        _LOG.info("tun fitted name=%s mtu=%d before=%d", self._name, mtu, before)

    def _failed(self, mtu: int, fault: str) -> None:
        if fault != self._fault:
            _LOG.error('tun not fitted name=%s mtu=%d reason="%s"', self._name, mtu, fault)
        self._fault = fault
