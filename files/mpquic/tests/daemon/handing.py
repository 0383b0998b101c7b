# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands over daemons of a test, and counts what passes a tunnel meanwhile."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from wan import ADDRESS, OTHER, until

if TYPE_CHECKING:
    from types import TracebackType

    from wan import Wan

#: Seconds between packets each way.
INTERVAL = 0.01

_PROBE = """
import json, socket, sys, time, threading
own, peer, port, interval = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((own, port))
sock.settimeout(0.1)
sent, got, ending = [], {}, threading.Event()
def listen():
    last = 1e18
    while time.monotonic() < last:
        if ending.is_set() and last > 1e17:
            last = time.monotonic() + 3
        try:
            number = int(sock.recv(2000)[:12])
        except (TimeoutError, ValueError):
            continue
        got.setdefault(number, []).append(time.monotonic())
ear = threading.Thread(target=listen)
ear.start()
print("ready", flush=True)
threading.Thread(target=lambda: (sys.stdin.readline(), ending.set())).start()
due = time.monotonic()
number = 0
while not ending.is_set():
    sock.sendto(b"%012d" % number + bytes(200), (peer, port))
    number += 1
    due += interval
    time.sleep(max(0, due - time.monotonic()))
ear.join()
print(json.dumps([number, got]), flush=True)
"""


class Flow:
    """Packets at both ends of a tunnel, each way, as long as this is open."""

    def __init__(self, wan: Wan, *, port: int = 7000) -> None:
        self._wan = wan
        self._port = port
        self._ends: dict[str, subprocess.Popen[str]] = {}
        #: By the end that received: what is missing, what came twice, and the longest time with nothing (seconds).
        self.lost: dict[str, int] = {}
        self.twice: dict[str, int] = {}
        self.still: dict[str, float] = {}
        self.sent: dict[str, int] = {}

    def __enter__(self) -> Self:
        for role in ADDRESS:
            place = ["ip", "netns", "exec", self._wan.ns[role], sys.executable, "-c", _PROBE]
            line = [*place, ADDRESS[role], ADDRESS[OTHER[role]], str(self._port), str(INTERVAL)]
            self._ends[role] = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for end in self._ends.values():
            assert end.stdout is not None
            assert end.stdout.readline() == "ready\n"
        time.sleep(0.5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told: dict[str, str] = {}

        def end(role: str, process: subprocess.Popen[str]) -> None:
            told[role] = process.communicate("\n", timeout=60)[0]

        threads = [threading.Thread(target=end, args=item) for item in self._ends.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = {role: json.loads(text) for role, text in told.items()}
        for role, (_sent, got) in found.items():
            sent = found[OTHER[role]][0]
            # What the other end sent before this one listened is not counted.
            first = min(map(int, got), default=0)
            self.sent[role] = sent - first
            self.lost[role] = sent - first - len(got)
            self.twice[role] = sum(len(times) - 1 for times in got.values())
            times = sorted(time for each in got.values() for time in each)
            self.still[role] = max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def __str__(self) -> str:
        return f"sent {self.sent}, lost {self.lost}, twice {self.twice}, still {self.still}"


def hand_over(wan: Wan, role: str) -> tuple[int, dict[str, Any]]:
    """Hand over an end; return the exit code and what became of it."""
    line = [sys.executable, "-m", "mpquic", "handover", role, "--json", "--run-dir", str(wan.folder)]
    before = wan.processes[role].pid
    done = subprocess.run(line, capture_output=True, text=True, timeout=90, check=False)
    answer = json.loads(done.stdout)["instances"][0]
    if done.returncode == 0:
        assert wan.processes[role].wait(10) == 0
        pid = wan.status(role)["pid"]
        assert pid != before
        wan.processes[role] = _Adopted(pid)  # type: ignore[assignment]
    return done.returncode, answer


class _Adopted:
    """A process that is no child of this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(9)

    def poll(self) -> int | None:
        try:
            return None if re.search(r"\) Z ", Path(f"/proc/{self.pid}/stat").read_text()) is None else 0
        except FileNotFoundError:
            return 0

    def wait(self, seconds: float) -> int:
        until(lambda: self.poll() is not None, seconds)
        return 0
