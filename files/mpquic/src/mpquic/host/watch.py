# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch: repairs what tunnels need of the host as soon as the kernel says that it changed (docs/drift.md).

It sleeps until an event comes, or until the next sweep, for events can be lost. While changes keep coming it looks less
and less often, so that it never takes more than a small share of a processor.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.host.drift import FAILED, failure
from mpquic.host.errors import HostError
from mpquic.host.events import EVERYTHING, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpquic.host.drift import Drift, Finding, Look
    from mpquic.host.events import Events

_LOG = logging.getLogger("mpquic")

FILE = Path("/run/mpquic/watch.json")
#: Seconds without an event before the look, since one command often changes several things; and after which it comes
#: anyway.
TOGETHER = 0.004
LATEST = 0.03
#: Seconds between two sweeps, which look at everything and at the units as well.
SWEEP = 60.0
#: A look that found nothing to repair is followed by a pause of this many times its own length.
REST = 4.0
#: Seconds without a word to the service manager, at most.
HEARTBEAT = 5.0
#: Seconds for which a repair is told by the status.
RECENT = 600.0
#: Repairs that are remembered.
KEPT = 100

_UNQUOTED = str.maketrans({'"': "'", "\n": " "})


@dataclass(slots=True)
class Watch:
    """The loop; `notify` gets lines for the service manager, such as ``READY=1``; `file` tells `told`."""

    events: Events
    drift: Drift
    notify: Callable[[str], None]
    file: Path
    _stopped: bool = False
    _repairs: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))
    _remaining: dict[str, list[Finding]] = field(default_factory=dict)
    _said: set[Finding] = field(default_factory=set)
    _written: str = ""

    def run(self) -> None:
        """Watch until `stop`."""
        self._repairs.extend(told(self.file).get("repairs", ()))
        sweep = began = time.monotonic()
        self._look(EVERYTHING, began, sweeping=True)
        self.notify("READY=1")
        rested = time.monotonic()
        while not self._stopped:
            self.notify("WATCHDOG=1")
            tries = self.drift.next_try()
            due = sweep + SWEEP if tries is None else min(sweep + SWEEP, tries)
            pending = self.events.wait(min(due - time.monotonic(), HEARTBEAT))
            began = time.monotonic()
            if not pending and began < due:
                continue
            pending |= self._together(began, rested - began)
            sweeping = began >= sweep + SWEEP
            if sweeping:
                sweep = began
            start = time.monotonic()
            repaired = self._look(EVERYTHING if began >= due else pending, began, sweeping=sweeping)
            end = time.monotonic()
            rested = end if repaired else end + REST * (end - start)

    def _together(self, began: float, rest: float) -> frozenset[Subject]:
        """Return what else the same command changes, and what changes while this rests (seconds)."""
        time.sleep(max(TOGETHER, rest))
        found = more = self.events.drain()
        while more and time.monotonic() < began + LATEST:
            time.sleep(TOGETHER)
            more = self.events.drain()
            found |= more
        return found

    def stop(self) -> None:
        """End `run`, from a signal handler."""
        self._stopped = True
        self.events.wake()

    def _look(self, subjects: frozenset[Subject], began: float, *, sweeping: bool) -> bool:
        """Look and repair; return whether there was something to repair."""
        repaired = False
        for subject in Subject:
            if subject not in subjects:
                continue
            try:
                look = self.drift.look(subject)
            except HostError as error:
                look = failure(error)
            self._remaining[subject.value] = look.remaining
            self._say(look, round((time.monotonic() - began) * 1000))
            repaired = repaired or bool(look.repaired)
        if sweeping:
            self._remaining["units"] = self.drift.units()
        self._say_remaining(late=sweeping)
        self._write()
        return repaired

    def _say(self, look: Look, milliseconds: int) -> None:
        for finding in look.repaired:
            _LOG.info("repaired %s in=%dms", _line(finding), milliseconds)
            self._repairs.append({"at": round(time.time(), 3), "ms": milliseconds, **_entry(finding)})
        for finding, pause in look.pauses:
            _LOG.error("undone again and again %s pause=%.0fs", _line(finding), pause)

    def _say_remaining(self, *, late: bool) -> None:
        """Say once what is not repaired; what a play may be about to mend only when a sweep still finds it."""
        remaining = {finding for found in self._remaining.values() for finding in found}
        self._said &= remaining
        for finding in sorted(remaining - self._said, key=lambda finding: finding.what):
            if late or finding.problem.code in FAILED:
                _LOG.error("not repaired %s", _line(finding))
                self._said.add(finding)

    def _write(self) -> None:
        remaining = [_entry(finding) for found in self._remaining.values() for finding in found]
        text = json.dumps({"pid": os.getpid(), "repairs": [*self._repairs], "remaining": remaining})
        if text == self._written:
            return
        try:
            self.file.parent.mkdir(mode=0o755, exist_ok=True)
            fresh = self.file.with_suffix(".new")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self.file)
        except OSError as error:
            _LOG.error('not written file=%s reason="%s"', self.file, error.strerror)
        else:
            self._written = text


def told(file: Path) -> dict[str, Any]:
    """Return what the last watch wrote: ``pid``, ``repairs`` (oldest first) and ``remaining``; or nothing."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def notices(file: Path) -> list[dict[str, Any]]:
    """Return what is wrong with the host, and what was repaired of late, the newest first.

    Each has ``tunnel`` (None for the host itself), ``code``, ``message`` and ``at``: when it was repaired (Unix
    seconds), None for what was not.
    """
    found = told(file)
    since = time.time() - RECENT
    try:
        repairs = [entry for entry in reversed(found.get("repairs", ())) if entry["at"] > since]
        return [
            {"at": entry.get("at")} | {key: entry[key] for key in ("tunnel", "code", "message")}
            for entry in [*found.get("remaining", ()), *repairs]
        ]
    except (AttributeError, KeyError, TypeError):
        return []


def runs(pid: object) -> bool:
    """Tell whether the watch that wrote its process id is still there."""
    if not isinstance(pid, int):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _entry(finding: Finding) -> dict[str, Any]:
    return {"tunnel": finding.tunnel, "code": finding.problem.code, "message": finding.problem.message}


def _line(finding: Finding) -> str:
    tunnel = f"tunnel={finding.tunnel} " if finding.tunnel else ""
    return f'{tunnel}what="{finding.what.translate(_UNQUOTED)}"'
