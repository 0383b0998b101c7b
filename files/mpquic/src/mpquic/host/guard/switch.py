# SPDX-License-Identifier: GPL-3.0-or-later
"""Arm, confirm, and go back when nobody confirmed.

The order of the steps is such that the timer runs before anything is armed and until nothing is any more, wherever a
process dies in between.

Time is measured by the monotonic clock, which no time server sets; it begins anew with a boot, so after one the time is
over. The wall clock is for people only.
"""

from __future__ import annotations

import hmac
import math
import secrets
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.host import lock, steps
from mpquic.host.errors import HostError, UsageError
from mpquic.host.guard import restore as back
from mpquic.host.guard import snapshot, store, timer
from mpquic.host.guard.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpquic.host.guard.services import Ask

SECONDS = (5, 86400)
"""The shortest and the longest time to wait for a confirmation, in seconds."""
_MARK = Path("/run/mpquic-guard.token")
"""Has the token of the armed guard, and does not outlive a boot."""
_BUSY = Path("/run/mpquic-guard.lock")
"""Held by whoever goes back."""


@dataclass(frozen=True, slots=True)
class Armed:
    """An armed guard: the state of when it goes back to (`since`), and until when on this boot's clock it waits.

    `since` is ISO 8601 in UTC, `deadline` monotonic seconds, `seconds` the time that was asked for. A `damaged` one is
    all that is known when its file cannot be read: nobody can confirm it.
    """

    token: str
    since: str
    seconds: int
    deadline: float
    restoring: bool = False
    damaged: bool = False

    @property
    def left(self) -> float:
        """Return the seconds that are left, 0 when the time is over."""
        return 0.0 if self.rebooted else max(0.0, self.deadline - time.monotonic())

    @property
    def rebooted(self) -> bool:
        """Whether the host was started anew since."""
        try:
            return _MARK.read_text(encoding="ascii") != self.token
        except FileNotFoundError:
            return True

    @property
    def over(self) -> bool:
        """Whether it is too late to confirm."""
        return self.restoring or self.left == 0

    @property
    def reason(self) -> str:
        """Return why it goes back, once its time is over."""
        if self.damaged:
            return f"{store.FOLDER / store.ARMED} is damaged"
        return "the host was started anew" if self.rebooted else f"not confirmed within {self.seconds} s"


def current() -> Armed | None:
    """Return the armed guard, None when there is none; one whose file is damaged has to go back."""
    try:
        found = store.read(store.ARMED)
    except HostError:
        found = {}
    match found:
        case None:
            return None
        case {
            "token": str(token),
            "since": str(since),
            "seconds": int(seconds),
            "deadline": int() | float() as deadline,
        } if math.isfinite(deadline):
            return Armed(token, since, seconds, deadline, found.get("restoring") is True, found.get("damaged") is True)
    return Armed("", "an unknown time", 0, 0.0, restoring=True, damaged=True)


def latest() -> dict[str, Any] | None:
    """Return what the last restore did, None when there was none or what it left cannot be read."""
    try:
        found = store.read(store.LAST)
    except HostError:
        return None
    match found:
        case {"token": str(), "since": str(), "at": str(), "reason": str(), "undone": list(), "failed": list()}:
            return found
    return None


def wake() -> None:
    """Let the host go back if the time is over: its timer may be gone."""
    armed = current()
    if armed is not None and armed.over:
        timer.wake()


def arm(seconds: int) -> Armed:
    """Take a snapshot and begin to wait; when one is armed already, keep its snapshot and begin its time anew.

    Raises:
        UsageError: the time is not one of `SECONDS`.
        HostError: the host cannot be read, or is about to go back.

    """
    _check(seconds, "arm")
    with lock.exclusive():
        earlier = current()
        if earlier is not None and earlier.over:
            timer.wake()
            raise HostError(
                f"the host is about to go back to its state of {earlier.since}: {earlier.reason}; try again then"
            )
        since = earlier.since if earlier is not None else _now()
        if earlier is None:
            store.write(store.SNAPSHOT, snapshot.take().plain())
        armed = Armed(secrets.token_hex(8), since, seconds, time.monotonic() + seconds)
        try:
            timer.start()
            _MARK.write_text(armed.token, encoding="ascii")
            store.write(store.ARMED, asdict(armed))
        except (HostError, OSError):
            if earlier is None:
                _forget()
            raise
    return armed


def extend(token: str, seconds: int) -> Armed:
    """Begin the time anew for whoever has the token: a long change that is still at work.

    Raises:
        UsageError: the time is not one of `SECONDS`.
        HostError: nothing is armed, the token is not its own, or it is too late.

    """
    _check(seconds, "extend")
    with lock.exclusive():
        armed = replace(_mine(token), seconds=seconds, deadline=time.monotonic() + seconds)
        timer.start()
        store.write(store.ARMED, asdict(armed))
    return armed


def confirm(token: str) -> Armed:
    """Disarm; the host stays as it is.

    Raises:
        HostError: nothing is armed, the token is not its own, or it is too late.

    """
    with lock.exclusive():
        armed = _mine(token)
        _forget()
        timer.stop()
    return armed


def _mine(token: str) -> Armed:
    """Return the armed guard if the token is its own and its time is not over."""
    armed = current()
    last = latest()
    if armed is None and last is not None and hmac.compare_digest(last["token"].encode(), token.encode()):
        raise HostError(
            f"too late: {last['reason']}, so at {last['at']} this host went back to its state of {last['since']}"
        )
    if armed is None:
        raise HostError("the guard is not armed, expected mpquic guard arm before")
    if not hmac.compare_digest(armed.token.encode(), token.encode()):
        raise HostError("the token is not the one of the latest mpquic guard arm on this host")
    if armed.over:
        timer.wake()
        raise HostError(f"too late: {armed.reason}, and this host goes back to its state of {armed.since}")
    return armed


def _check(seconds: int, action: str) -> None:
    if not SECONDS[0] <= seconds <= SECONDS[1]:
        raise UsageError(f"guard {action}: --seconds: found {seconds}, expected {SECONDS[0]} to {SECONDS[1]}")


def expire(ask: Ask) -> dict[str, Any] | None:
    """Go back if the time is over; return what `restore` does, None when there is nothing to do."""
    with lock.attempt(_BUSY) as alone:
        return _go_back(ask, due=True) if alone else None


def restore(ask: Ask) -> dict[str, Any]:
    """Go back now, and return what was undone, which `store.LAST` keeps.

    Raises:
        HostError: nothing is armed, or the host is going back already.

    """
    with lock.attempt(_BUSY) as alone:
        if not alone:
            raise HostError("this host is going back already; mpquic guard status says what was undone once it has")
        last = _go_back(ask, due=False)
    if last is None:
        raise HostError("the guard is not armed: there is no state to go back to")
    return last


def _go_back(ask: Ask, *, due: bool) -> dict[str, Any] | None:
    """Go back, with `due` only if the time is over; neither a damaged nor a full disk may keep the host from it."""
    report = Report()
    # Under the lock, so that nobody begins the time anew meanwhile.
    with back.held(report) as alone:
        armed = current()
        if armed is None and alone:
            timer.stop()  # it outlived whoever should have stopped it
        if armed is None or (due and not armed.over):
            return None
        # From here on it is too late to confirm, and a host that loses its power begins again.
        _try(report, lambda: store.write(store.ARMED, asdict(armed) | {"restoring": True}))
    try:
        wanted = snapshot.load(store.read(store.SNAPSHOT) or {})
    except HostError as error:  # a second try would find the same
        report.failed.append(str(error))
    else:
        report.add(back.restore(wanted, ask))
    with back.held(report):
        last = _last(armed, armed.reason if armed.over else "asked for", report)
        _try(report, lambda: store.write(store.LAST, last))
        found = current()
        if found is None or found.token == armed.token:  # another one was armed since, and has its own time
            _forget()
            timer.stop()
    return last


def _try(report: Report, work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        report.failed.append(f"{store.FOLDER}: {steps.reason(error)}")


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
    _MARK.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
