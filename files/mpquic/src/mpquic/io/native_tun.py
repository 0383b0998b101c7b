# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of packets to and from a TUN device by the native library: the twin of mpquic.io.tun.TunDevice."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import lru_cache
from typing import TYPE_CHECKING

from mpquic.io.native_codec import NativeCodec
from mpquic.io.tun import BATCH, BATCH_BYTES, TunDevice
from mpquic.native import library as native
from mpquic.native.buffers import Room
from mpquic.native.buffers import batch as batch_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from mpquic.core.types import Frame
    from mpquic.native import Library

#: Packets up to this size (bytes) are put together and written in one call: copying larger ones costs more than that.
_SMALL = 2048


class NativeTunDevice(TunDevice):
    """See TunDevice; always with offload."""

    def __init__(self, library: Library, name: str, fd: int, drops: Counter[str], *, udp: bool) -> None:
        """Take over ``fd``; ``udp`` tells whether the device takes merged UDP."""
        super().__init__(name, fd, drops, NativeCodec(library, udp=udp))
        self._library = library
        self._room = _room()
        self._error = ctypes.c_int()

    def read(self) -> list[bytes]:
        """Return the packets the kernel has for us; see TunDevice."""
        count = self._library.read(self._fd, BATCH_BYTES, *self._room.arguments, self._error)
        code = self._error.value
        if code and code != errno.EAGAIN:
            self._read_failed(OSError(code, os.strerror(code)))
        return self._room.items(count) if count else []

    def write(self, frames: Iterable[Frame]) -> None:
        """Hand packets to the kernel; see TunDevice."""
        frames = list(frames)
        small = sum([len(part) for frame in frames for part in frame]) <= _SMALL * len(frames)
        if len(frames) == 1 or not small:
            super().write(frames)
            return
        packets = [b"".join(frame) for frame in frames]
        while packets:
            done = self._library.write(self._fd, *batch_of(packets).arguments, self._error)
            code = self._error.value
            if not code:
                return
            self._write_failed(OSError(code, os.strerror(code)))
            packets = packets[done + 1 :]


@lru_cache(maxsize=1)
def _room() -> Room:
    """Return the room that all devices share: what was read is copied at once."""
    return Room(BATCH, BATCH_BYTES + native.MESSAGE)
