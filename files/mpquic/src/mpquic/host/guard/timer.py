# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic-guard.timer``, which starts ``mpquic-guard.service`` every few seconds while the guard is armed.

It knows no deadline: the service looks whether one is over. So a timer that runs is right whatever the deadline became,
and to start it again does no harm. After a boot the service starts by itself.
"""

from __future__ import annotations

from mpquic.host import programs

SERVICE = "mpquic-guard.service"
TIMER = "mpquic-guard.timer"
#: Seconds.
_PATIENCE = 30


def start() -> None:
    """Let the timer run, if it does not yet.

    Raises:
        HostError: systemd refuses.

    """
    programs.demand("systemctl", "start", TIMER, patience=_PATIENCE, task=f"start {TIMER}", fault="refused")


def stop() -> None:
    """Stop the timer, if it runs."""
    programs.answer("systemctl", "stop", TIMER, patience=_PATIENCE)


def wake() -> None:
    """Start the service now, without waiting for it; nothing happens where it is at work."""
    programs.answer("systemctl", "start", "--no-block", SERVICE, patience=_PATIENCE)
