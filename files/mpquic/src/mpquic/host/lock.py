# SPDX-License-Identifier: GPL-3.0-or-later
"""One changer of the host at a time: units, timers and plays may all come at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from mpquic.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_FILE = "/run/mpquic-host.lock"
PATIENCE = 20.0
"""Seconds to wait for another changer."""


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Hold the host's lock.

    Raises:
        HostError: not root, or another changer holds it for longer than `PATIENCE`.

    """
    if os.geteuid() != 0:
        raise HostError("changing the host needs root")
    descriptor = os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise HostError(f"another mpquic command holds {LOCK_FILE} for {PATIENCE:.0f} s") from None
                time.sleep(0.05)
            else:
                break
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def attempt(path: Path) -> Iterator[bool]:
    """Take a lock of one purpose without waiting for it, and tell whether it is held now.

    Raises:
        OSError: its file cannot be made.

    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
