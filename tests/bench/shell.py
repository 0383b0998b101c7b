# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands, processes and waiting."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from tests.bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

#: Seconds a process gets to end by itself.
PATIENCE = 5.0


def run(*command: str | Path, timeout: float = 60) -> str:
    """Run a command and return what it printed. Raises BenchError with its last line when it fails or takes longer."""
    words = [str(word) for word in command]
    what = " ".join(words[4:] if words[:3] == ["ip", "netns", "exec"] else words)[:60]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except OSError as error:
        raise BenchError(f"{words[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{what}: no end after {timeout:.0f} s") from error
    if done.returncode:
        raise BenchError(f"{what}: {last_line(done.stderr or done.stdout) or f'exit {done.returncode}'}")
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    """Run a command for its exit code alone."""
    try:
        return subprocess.run(list(map(str, command)), capture_output=True, check=False, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def inside(namespace: str, *command: str | Path) -> list[str]:
    """Return the command line that runs a command in a namespace."""
    return ["ip", "netns", "exec", namespace, *map(str, command)]


def last_line(text: str) -> str:
    """Return the last line of an output that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: str | Callable[[], str]) -> None:
    """Poll a condition. Raises BenchError with the text ``otherwise`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(otherwise if isinstance(otherwise, str) else otherwise())
        time.sleep(0.02)


class Process:
    """A process of this benchmark: a session of its own, and it does not outlive the benchmark, however that ends."""

    def __init__(self, name: str, command: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        """Start it with its output in ``log``. Raises BenchError when the program is not there."""
        self.name = name
        self.log = log
        with log.open("wb") as output:
            try:
                self._process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    env={**os.environ, **(env or {})},
                )
            except OSError as error:
                raise BenchError(f"{name}: {error.strerror}") from error
        self.pid = self._process.pid

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    def expect_alive(self) -> None:
        """Raise BenchError with the last line of its log when it has ended."""
        if not self.alive():
            raise BenchError(f"{self.name} ended with {self._process.returncode}: {last_line(self.output()) or '-'}")

    def output(self) -> str:
        """Return what it has written so far."""
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float) -> int:
        """Wait for its end and return its exit code. Raises BenchError when it takes longer."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{self.name}: no end after {seconds:.0f} s") from error

    def stop(self) -> None:
        """End it and its children, first politely."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
                return


@contextlib.contextmanager
def started(*makers: Callable[[], Process]) -> Iterator[list[Process]]:
    """Start processes one after the other, and stop all that came up in the end."""
    with contextlib.ExitStack() as stack:
        running = []
        for make in makers:
            process = make()
            stack.callback(process.stop)
            running.append(process)
        yield running
