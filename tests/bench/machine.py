# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that the benchmark runs on, and the person before it."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.bench.errors import BenchError

#: Program, and the Debian package that has it.
_TOOLS = {"iperf3": "iperf3", "ethtool": "ethtool", "ping": "iputils-ping", "setpriv": "util-linux", "tc": "iproute2"}


def expect_usable() -> None:
    """Raise BenchError with what is missing."""
    if os.geteuid() != 0:
        raise BenchError("run as root: it makes network namespaces")
    missing = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise BenchError(f"missing packages: run apt-get install {' '.join(missing)}")


def describe() -> dict[str, Any]:
    """Return what the figures depend on."""
    models = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "kernel": os.uname().release.split("-")[0],
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": models[0] if models else platform.machine(),
        "python": platform.python_version(),
    }


def say(text: str) -> None:
    """One line for the person who waits."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()
