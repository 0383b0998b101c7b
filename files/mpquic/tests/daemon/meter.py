# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbered packets through a tunnel, both ways, counted at the other end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from wan import ADDRESS, OTHER

if TYPE_CHECKING:
    from wan import Wan

_PORT = 7000
#: Sends ``count`` packets, one each ``interval`` seconds, and prints [number, when it came] of each it gets.
_SCRIPT = """
import json, select, socket, sys, time
own, other, port, count, interval = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:6])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((own, int(port)))
print("ready", flush=True)
sys.stdin.readline()
start, sent, got = time.time(), 0, []
end = start + float(sys.argv[6]) + 1.0
while (now := time.time()) < end:
    if sent < count and now >= start + sent * interval:
        try:
            sock.sendto(str(sent).encode(), (other, int(port)))
        except OSError:
            pass
        sent += 1
        continue
    wait = start + sent * interval if sent < count else end
    if select.select([sock], [], [], max(0.0, min(wait, end) - now))[0]:
        got.append([int(sock.recv(64)), time.time()])
print(json.dumps(got))
"""


@dataclass(frozen=True)
class Arrived:
    """What an end got: the numbers in the order in which they came, and when (time.time())."""

    numbers: list[int]
    times: list[float]

    def after(self, moment: float) -> float:
        """Return the seconds from a moment until something came."""
        return min(at for at in self.times if at >= moment) - moment


class Meter:
    """``with Meter(...) as meter: ...``, then ``meter.at[role]``. Of ``senders`` each sends ``count`` packets."""

    def __init__(
        self, wan: Wan, count: int, *, interval: float = 0.05, senders: tuple[str, ...] = ("client", "server")
    ) -> None:
        self.at: dict[str, Arrived] = {}
        self.count = count
        self._ends: dict[str, subprocess.Popen[str]] = {}
        for role in ADDRESS:
            line = ["ip", "netns", "exec", wan.ns[role], sys.executable, "-c", _SCRIPT, ADDRESS[role]]
            line += [ADDRESS[OTHER[role]], str(_PORT), str(count if role in senders else 0), str(interval)]
            line.append(str(count * interval))
            self._ends[role] = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        for end in self._ends.values():
            assert end.stdout is not None
            assert end.stdout.readline() == "ready\n"
        for end in self._ends.values():
            assert end.stdin is not None
            end.stdin.write("go\n")
            end.stdin.flush()
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        for role, end in self._ends.items():
            out, _err = end.communicate(timeout=60)
            got = json.loads(out or "[]")
            self.at[role] = Arrived([number for number, _at in got], [at for _number, at in got])

    def missing(self, role: str) -> list[int]:
        """Return the numbers that an end did not get."""
        return sorted(set(range(self.count)) - set(self.at[role].numbers))
