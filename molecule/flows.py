# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows between a LAN and the internet, and what became of them."""

from __future__ import annotations

import contextlib
import json
import sys
import time
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


@contextlib.contextmanager
def load(*lans: str) -> Iterator[dict[str, dict[str, Any]]]:
    """Send 100 packets a second from LANs to the internet and back; afterwards there is what became of them, by LAN.

    A LAN is such as ``lan1``, or ``lan5 6`` for its IPv6.
    """
    became: dict[str, dict[str, Any]] = {}
    with server():
        calls = {}
        for lan in lans:
            place, _, family = lan.partition(" ")
            calls[lan] = flow("calls", WEB6 if family else WEB, 10000, 0, 600, lan=place)
        time.sleep(2)
        try:
            yield became
        finally:
            time.sleep(1)
            for process in calls.values():
                process.terminate()
            for lan, process in calls.items():
                became[lan] = result(process)
