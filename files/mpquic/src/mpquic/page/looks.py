# SPDX-License-Identifier: GPL-3.0-or-later
"""How the instances are now, asked all at once for all who watch: one that hangs does not hold up the others."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from mpquic.host import overview

if TYPE_CHECKING:
    from pathlib import Path

#: Instances that are shown, and asked at a time.
MOST = 256
_AT_ONCE = 8
#: Seconds for which an answer is good, and that one is waited for: who gave none yet is shown as before.
_FRESH, _PATIENCE = 0.4, 0.7


class Looks:
    """Asks the instances with a control socket below ``run_dir`` or a file in ``instances``. Safe for threads."""

    def __init__(self, run_dir: Path, instances: Path) -> None:
        """Start without having asked anybody."""
        self._run_dir = run_dir
        self._instances = instances
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._asked: dict[str, Future[dict[str, Any]]] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._at = -_FRESH

    def now(self) -> list[dict[str, Any]]:
        """Return the status of every instance, in their order, as `overview.read` does."""
        with self._lock:
            if time.monotonic() - self._at >= _FRESH:
                self._look()
                self._at = time.monotonic()
            return list(self._last.values())

    def _look(self) -> None:
        names = overview.names(self._run_dir, self._instances)[:MOST]
        for name in names:
            if name not in self._asked:
                self._asked[name] = self._pool.submit(overview.read, self._run_dir, name)
        wait(self._asked.values(), _PATIENCE)
        found = {name: future.result() for name, future in self._asked.items() if future.done()}
        self._asked = {name: future for name, future in self._asked.items() if name not in found}
        waiting = {"state": "connecting", "reason": "its daemon has not answered yet"}
        self._last = {name: found.get(name) or self._last.get(name) or {"id": name, **waiting} for name in names}
