# SPDX-License-Identifier: GPL-3.0-or-later
"""The timer that starts ``mpquic-guard.service``; after a reboot the service starts by itself."""

from __future__ import annotations

from mpquic.host import programs

SERVICE = "mpquic-guard.service"
TIMER = "mpquic-guard.timer"
#: Seconds.
_PATIENCE = 30


def start(seconds: float) -> None:
    """Let the service start in so many seconds, in place of an earlier time.

    Raises:
        HostError: systemd refuses.

    """
    stop()
    programs.demand(
        "systemd-run",
        f"--unit={SERVICE}",
        f"--on-active={seconds:.3f}s",
        "--timer-property=AccuracySec=100ms",
        "--quiet",
        patience=_PATIENCE,
        task=f"start {TIMER}",
        fault="refused",
    )


def stop() -> None:
    """Stop the timer, if there is one."""
    programs.answer("systemctl", "stop", TIMER, patience=_PATIENCE)
