# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as the operator sees it: its hosts over SSH, its LANs by their packets, and two inventories for it."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.paths import Paths
from lab.topology import load

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "lab" / "lab"
HOSTS = ("client1", "vps1")
WEB = "192.0.2.80"
#: The tunnel that is changed: another WAN, and another port at both ends.
_TUNNEL = 3
_OLD, _NEW = "wan: enp7s5", "wan: enp7s6, port: 45103"
_INTERVAL = 0.2
_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from")


def inventories(folder: Path) -> tuple[Path, Path]:
    """Return the lab's own inventory, and a copy in which a tunnel has another WAN and another port."""
    own, other = ROOT / "inventories" / "lab", folder / "inventory"
    shutil.copytree(own, other)
    path = other / "host_vars" / "client1.yml"
    text = path.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if f"id: {_TUNNEL}," in line)
    assert _OLD in line, line
    path.write_text(text.replace(line, line.replace(_OLD, _NEW)), encoding="utf-8")
    return own, other


def reachable(host: str) -> bool:
    """Whether a new SSH connection comes to be."""
    config = Paths(load(ROOT / "lab" / "topology.yml")).state / "ssh_config"
    command = ["ssh", "-F", str(config), "-o", "ConnectTimeout=2", "-o", "ControlPath=none", host, "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def ask(host: str, command: str) -> str:
    """Return what a shell command on a host prints; past SSH."""
    done = subprocess.run([LAB, "exec", host, "sh", "-c", command], check=False, capture_output=True, text=True)
    return done.stdout


@dataclass(frozen=True)
class Lan:
    """What one LAN's pings say."""

    name: str
    log: Path

    def replies(self) -> list[float]:
        """Return when replies came, in seconds of the wall clock."""
        text = self.log.read_text(encoding="utf-8")
        return [float(match[1]) for line in text.splitlines() if (match := _REPLY.match(line))]

    def flows(self) -> bool:
        """Whether one came within the last second."""
        replies = self.replies()
        return bool(replies) and time.time() - replies[-1] < 1.0

    def outage(self, begin: float) -> float:
        """Return the longest time without a reply since `begin`, in seconds."""
        times = [begin, *(reply for reply in self.replies() if reply > begin), time.time()]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


@contextlib.contextmanager
def pings(folder: Path) -> Iterator[list[Lan]]:
    """Ping from every LAN until the end."""
    lans = [Lan(f"lan{number}", folder / f"lan{number}") for number in range(1, 7)]
    running = []
    try:
        for lan in lans:
            with lan.log.open("w") as stream:
                command = ["exec", "ping", "-n", "-D", "-i", str(_INTERVAL), WEB]
                running.append(subprocess.Popen([LAB, "exec", lan.name, "sh", "-c", " ".join(command)], stdout=stream))
        yield lans
    finally:
        for process in running:
            process.kill()
            process.wait()
