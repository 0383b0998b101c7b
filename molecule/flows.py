# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows between a LAN and the internet, and what became of them."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conftest import WEB, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

WEB6 = "2001:db8:80::80"
TRAFFIC = f"{sys.executable} {Path(__file__).with_name('traffic.py')}"


def flow(kind: str, *arguments: object, lan: str = "lan5") -> subprocess.Popen[str]:
    """Start a flow of a LAN: ``calls``, ``flood``, ``load``, ``talk`` or ``many`` with what traffic.py takes."""
    return start(lan, f"exec {TRAFFIC} {kind} {' '.join(map(str, arguments))}")


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a flow, and return what became of it."""
    stdout, stderr = process.communicate(timeout=90)
    assert process.returncode == 0, stderr
    found: dict[str, Any] = json.loads(stdout)
    return found


@contextlib.contextmanager
def server() -> Iterator[None]:
    """Answer flows on the internet, for IPv4 and IPv6."""
    process = start("internet", f"exec {TRAFFIC} serve {WEB} {WEB6}")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=10)
