# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady ping through a tunnel, and what became of every echo."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wan import ADDRESS, OTHER, until

if TYPE_CHECKING:
    from typing import Self

    from wan import Wan

_ANSWER = re.compile(r"^\[([0-9.]+)\].* icmp_seq=([0-9]+) .*time=([0-9.]+) ms$", re.MULTILINE)
#: Seconds, and echoes that may be on their way when they are over.
_TAIL, _ON_THE_WAY = 0.5, 10
_SENT = re.compile(r"^([0-9]+) packets transmitted", re.MULTILINE)


@dataclass(frozen=True)
class Echoes:
    """What came back: when it did (seconds since the epoch), and after how long (milliseconds)."""

    sent: int
    numbers: list[int]
    at: list[float]
    times: list[float]

    @property
    def lost(self) -> int:
        return self.sent - len(set(self.numbers))

    @property
    def doubled(self) -> int:
        return len(self.numbers) - len(set(self.numbers))

    def percentile(self, share: float, begin: float = 0.0, end: float = float("inf")) -> float:
        """Return the round trip (milliseconds) that this share of the echoes of a span of time did not exceed."""
        times = sorted(took for at, took in zip(self.at, self.times, strict=True) if begin <= at < end)
        return times[min(int(share * len(times)), len(times) - 1)]


class Pinger:
    """100 echoes per second for so many seconds, or until echoes() is called; a context manager."""

    def __init__(self, wan: Wan, seconds: float | None = None, role: str = "client") -> None:
        self._seconds = seconds
        count = f"-c {round(100 * seconds)}" if seconds is not None else ""
        self._output = tempfile.NamedTemporaryFile("a+")  # noqa: SIM115 - closed at the end
        line = f"ip netns exec {wan.ns[role]} ping -n -D -i 0.01 {count} -W 2 {ADDRESS[OTHER[role]]}"
        self._process = subprocess.Popen(line.split(), stdout=self._output, stderr=self._output)

    def __enter__(self) -> Self:
        """Wait for the first echo."""
        until(lambda: _ANSWER.search(self._text()) is not None, 5, "an echo")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)
        self._output.close()

    def _text(self) -> str:
        return Path(self._output.name).read_text()

    def done(self) -> bool:
        return self._process.poll() is not None

    def echoes(self) -> Echoes:
        """Wait for the end, or make one."""
        if self._seconds is None:
            # What comes back now shows what was lost before.
            time.sleep(_TAIL)
            self._process.send_signal(signal.SIGINT)
        self._process.wait((self._seconds or 0) + 20)
        text = self._text()
        sent = _SENT.search(text)
        assert sent is not None, text[-300:]
        answers = _ANSWER.findall(text)
        numbers = [int(number) for _at, number, _took in answers]
        count = int(sent[1])
        if self._seconds is None and count - max(numbers) <= _ON_THE_WAY:
            count = max(numbers)
        return Echoes(
            count,
            numbers,
            [float(at) for at, _number, _took in answers],
            [float(took) for _at, _number, took in answers],
        )
