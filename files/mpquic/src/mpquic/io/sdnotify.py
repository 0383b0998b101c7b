# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to systemd (sd_notify(3)). Without a service manager they do nothing."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """Sends readiness, status and watchdog messages."""

    def __init__(self) -> None:
        """Find the manager's socket in the environment."""
        path = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if path else None

    def send(self, message: str) -> None:
        """Send ``message``, such as ``READY=1``. A manager that does not listen is no reason to stop."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(message.encode(), self._address)

    @staticmethod
    def watchdog_interval() -> float | None:
        """Return how often to send ``WATCHDOG=1`` (seconds): half of what the unit allows; None without a watchdog."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return None
        return int(microseconds) / 2e6
