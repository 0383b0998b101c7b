# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the host finds names: asked beside the looks of the recorder, for a resolver that is gone takes its time."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.host.doctor import dns
from mpquic.host.history.changes import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG = logging.getLogger("mpquic")

FILE = Path("/run/mpquic/names.json")
CODE = "dns_silent"
EVERY = 3.0
"""Seconds between two questions."""


class Names:
    """Asks the resolvers of a resolv.conf(5) in their order until one answers; `file` tells `told` what came of it."""

    def __init__(self, file: Path, resolv: Path) -> None:
        """Ask from now on."""
        self._file = file
        self._resolv = resolv
        #: Why no name is found, and since when that is so (Unix seconds).
        self._now: tuple[str | None, float] = None, 0.0
        self._said: str | None = None
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="names", daemon=True)
        self._thread.start()

    def fresh(self) -> Iterator[Event]:
        """Yield what changed since the last call."""
        fault, at = self._now
        if (fault is None) != (self._said is None):
            yield Event(at, "fault" if fault is not None else "fault_over", CODE, fault or "")
        self._said = fault

    def stop(self) -> None:
        """Ask no more."""
        self._ends.set()
        self._thread.join()

    def _ask(self) -> None:
        written: tuple[str | None] | None = None
        while True:
            fault = _fault(self._resolv)
            if fault != self._now[0]:
                self._now = fault, time.time()
            if written != (fault,):
                written = (fault,) if self._write(fault) else None
            if self._ends.wait(EVERY):
                return

    def _write(self, fault: str | None) -> bool:
        fresh = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(mode=0o755, exist_ok=True)
            fresh.write_text(json.dumps({"at": time.time(), "fault": fault}), encoding="utf-8")
            fresh.chmod(0o644)
            fresh.replace(self._file)
        except OSError as error:
            _LOG.error('not written file=%s reason="%s"', self._file, error.strerror)
            return False
        return True


def told(file: Path) -> str | None:
    """Return why the host finds no names, None when it does or nobody has asked."""
    try:
        fault = json.loads(file.read_text(encoding="utf-8"))["fault"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(fault) if fault is not None else None


def _fault(resolv: Path) -> str | None:
    faults: list[str] = []
    for address in dns.resolvers(resolv):
        fault = dns.faults([address]).get(address)
        if fault is None:
            return None
        faults.append(f"the resolver {address} {fault}")
    return "; ".join(faults) or None
