# SPDX-License-Identifier: GPL-3.0-or-later
"""Arm, confirm, and go back when nobody confirmed.

Time is measured by the monotonic clock, which no time server sets; it begins anew with a boot, so after one the time is
over. The wall clock is for people only.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.host import lock
from mpquic.host.errors import HostError, UsageError
from mpquic.host.guard import restore as back
from mpquic.host.guard import snapshot, store, timer

if TYPE_CHECKING:
    from mpquic.host.guard.report import Report
    from mpquic.host.guard.services import Ask

SECONDS = (5, 86400)
"""The shortest and the longest time to wait for a confirmation, in seconds."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Armed:
    """An armed guard: the state of when it goes back to (`since`), and until when on which boot's clock it waits.

    `since` is ISO 8601 in UTC, `deadline` monotonic seconds, `seconds` the time that was asked for.
    """

    token: str
    since: str
    seconds: int
    deadline: float
    boot: str
    restoring: bool = False

    @property
    def left(self) -> float:
        """Return the seconds that are left, 0 when the time is over."""
        return max(0.0, self.deadline - time.monotonic()) if self.boot == _boot() else 0.0

    @property
    def over(self) -> bool:
        """Whether it is too late to confirm."""
        return self.restoring or self.left == 0

    @property
    def reason(self) -> str:
        """Return why it goes back, once its time is over."""
        return f"not confirmed within {self.seconds} s" if self.boot == _boot() else "the host was started anew"


def current() -> Armed | None:
    """Return the armed guard, None when there is none.

    Raises:
        HostError: its file is damaged.

    """
    found = store.read(store.ARMED)
    return Armed(**found) if found is not None else None


def arm(seconds: int) -> Armed:
    """Take a snapshot and start the timer; when one is armed already, keep its snapshot and begin its time anew.

    Raises:
        UsageError: the time is not one of `SECONDS`.
        HostError: the host cannot be read, or is about to go back.

    """
    if not SECONDS[0] <= seconds <= SECONDS[1]:
        raise UsageError(f"guard arm: --seconds: found {seconds}, expected {SECONDS[0]} to {SECONDS[1]}")
    with lock.exclusive():
        earlier = current()
        if earlier is not None and earlier.over:
            raise HostError(
                f"the host is about to go back to its state of {earlier.since}: {earlier.reason}; try again then"
            )
        if earlier is None:
            since = _now()
            store.write(store.SNAPSHOT, snapshot.take().plain())
        else:
            since = earlier.since
        armed = Armed(secrets.token_hex(8), since, seconds, time.monotonic() + seconds, _boot())
        store.write(store.ARMED, asdict(armed))
        try:
            timer.start(seconds)
        except HostError:
            if earlier is None:
                _forget()
            raise
    return armed


def confirm(token: str) -> Armed:
    """Disarm; the host stays as it is.

    Raises:
        HostError: nothing is armed, the token is not its own, or it is too late.

    """
    with lock.exclusive():
        armed = current()
        last = store.read(store.LAST)
        if armed is None and last is not None and hmac.compare_digest(str(last.get("token")), token):
            raise HostError(
                f"too late: {last['reason']}, so at {last['at']} this host went back to its state of {last['since']}"
            )
        if armed is None:
            raise HostError("the guard is not armed, expected mpquic guard arm before")
        if not hmac.compare_digest(armed.token, token):
            raise HostError("the token is not the one of the latest mpquic guard arm on this host")
        if armed.over:
            raise HostError(f"too late: {armed.reason}, and this host goes back to its state of {armed.since}")
        timer.stop()
        _forget()
    return armed


def expire(ask: Ask) -> dict[str, Any] | None:
    """Go back if the time is over; return what `restore` does, None when there is nothing to do."""
    armed = current()
    return restore(ask) if armed is not None and armed.over else None


def restore(ask: Ask) -> dict[str, Any]:
    """Go back now, and keep in `store.LAST` what was undone.

    Raises:
        HostError: nothing is armed, or its snapshot is damaged.

    """
    armed = current()
    if armed is None:
        raise HostError("the guard is not armed: there is no state to go back to")
    reason = armed.reason if armed.over else "asked for"
    plain = store.read(store.SNAPSHOT)
    if plain is None:
        raise HostError(f"{store.FOLDER / store.SNAPSHOT}: missing, so there is no state to go back to")
    wanted = snapshot.load(plain)
    store.write(store.ARMED, asdict(armed) | {"restoring": True})
    report = back.restore(wanted, ask)
    last = _last(armed, reason, report)
    store.write(store.LAST, last)
    _forget()
    timer.stop()
    return last


def _last(armed: Armed, reason: str, report: Report) -> dict[str, Any]:
    return {
        "token": armed.token,
        "since": armed.since,
        "at": _now(),
        "reason": reason,
        "undone": list(dict.fromkeys(report.done)),
        "failed": list(dict.fromkeys(report.failed)),
    }


def _forget() -> None:
    store.remove(store.ARMED)
    store.remove(store.SNAPSHOT)


def _boot() -> str:
    return _BOOT.read_text(encoding="ascii").strip()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
