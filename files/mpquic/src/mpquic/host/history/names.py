# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the host finds names: asked at each look beside it, for a resolver that is gone takes its time."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.host.doctor import dns
from mpquic.host.history.changes import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path("/run/mpquic/names.json")
CODE = "dns_silent"


class Names:
    """Asks the resolvers of a resolv.conf(5) in their order until one answers; `file` tells `told`."""

    def __init__(self, file: Path, resolv: Path) -> None:
        """Start without having asked."""
        self._file = file
        self._resolv = resolv
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._asked: Future[str | None] | None = None
        self._fault: str | None = None
        self._written = False

    def look(self, now: float) -> Iterator[Event]:
        """Yield what the last question brought, and ask again. ``now`` is Unix seconds. Raises OSError."""
        if self._asked is not None and not self._asked.done():
            return
        if self._asked is not None:
            before, self._fault = self._fault, self._asked.result()
            if (before is None) != (self._fault is None):
                yield Event(now, "fault" if self._fault else "fault_over", CODE, self._fault or "")
                self._written = False
            if not self._written:
                self._write(now)
        self._asked = self._pool.submit(_fault, self._resolv)

    def stop(self) -> None:
        """Ask no more."""
        self._pool.shutdown()

    def _write(self, now: float) -> None:
        self._file.parent.mkdir(mode=0o755, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps({"at": now, "fault": self._fault}), encoding="utf-8")
        fresh.chmod(0o644)
        fresh.replace(self._file)
        self._written = True


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
