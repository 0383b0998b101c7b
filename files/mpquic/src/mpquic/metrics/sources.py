# SPDX-License-Identifier: GPL-3.0-or-later
"""The instances of this host, asked all at once: one that hangs costs a scrape no more than its own patience."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mpquic.io.answer import read_status
from mpquic.metrics.bounds import MAX_TUNNELS

if TYPE_CHECKING:
    from pathlib import Path

#: Instances that are asked at a time.
_AT_ONCE = 8


def read(run_dir: Path, instances: Path) -> dict[str, dict[str, Any] | None]:
    """Return what each instance says of itself, by id, None of one that does not answer or not as it should.

    Instances are those with a control socket below ``run_dir``, and those with a file in ``instances`` as far as this
    user may see that folder.
    """
    names = _stems(run_dir, "*/control.sock", parent=True) | _stems(instances, "*.yaml")
    chosen = sorted(names)[:MAX_TUNNELS]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(chosen, pool.map(lambda name: _ask(run_dir, name), chosen), strict=True))


def _ask(run_dir: Path, name: str) -> dict[str, Any] | None:
    try:
        return read_status(run_dir / name / "control.sock", name)
    except (OSError, ValueError):
        return None


def _stems(folder: Path, pattern: str, *, parent: bool = False) -> set[str]:
    try:
        return {path.parent.name if parent else path.stem for path in folder.glob(pattern)}
    except OSError:
        return set()
