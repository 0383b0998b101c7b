# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that runs site.yml, and its sudden death."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
_CALLBACKS = Path(__file__).parent / "callbacks"
#: Seconds: between two looks, and at most for a play on a busy machine.
_POLL = 0.02
_PATIENCE = 600


class Controller:
    """One run of site.yml, with connections of its own; use as a context manager.

    Its processes have sessions of their own, and the masters of its connections outlive it: they are known by their
    folder.
    """

    def __init__(self, inventory: Path, *arguments: str) -> None:
        """Start the play."""
        # Short, because the path of a socket is.
        self._folder = Path(tempfile.mkdtemp(prefix="kld", dir="/tmp"))
        self._steps = self._folder / "steps"
        self._steps.touch()
        self.output = self._folder / "output"
        with self.output.open("w") as stream:
            self._process = subprocess.Popen(
                ["ansible-playbook", "-i", str(inventory), "site.yml", *arguments],
                cwd=ROOT,
                env={
                    **os.environ,
                    "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
                    "ANSIBLE_CALLBACKS_ENABLED": "steps",
                    "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._folder),
                    "ANSIBLE_FORCE_COLOR": "0",
                    "KILLED_STEPS": str(self._steps),
                },
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what is left of it, and remove its files."""
        self.kill()
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()

    def steps(self) -> list[str]:
        """Return the names of the tasks that began so far."""
        return [line.removeprefix("task ") for line in self._lines() if line.startswith("task ")]

    def acting(self) -> set[int]:
        """Return the numbers of the tasks (1 is the first) that did something to a host so far."""
        numbers, number = set(), 0
        for line in self._lines():
            if line.startswith("task "):
                number += 1
            else:
                numbers.add(number)
        return numbers

    def reach(self, step: int) -> str | None:
        """Wait until this task (1 is the first) begins and return its name; None when the play ends before."""
        deadline = time.monotonic() + _PATIENCE
        while len(found := self.steps()) < step:
            if self._process.poll() is not None or time.monotonic() > deadline:
                return None
            time.sleep(_POLL)
        return found[step - 1]

    def wait(self) -> int:
        """Return its exit code when it is through."""
        return self._process.wait(timeout=_PATIENCE)

    def kill(self) -> None:
        """End it and all that it started, at once and without a farewell."""
        while found := self._mine():
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if self._process.pid in found:
                self._process.wait()

    def _lines(self) -> list[str]:
        """Return the whole lines of what the callback wrote."""
        return self._steps.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()

    def _mine(self) -> set[int]:
        """Return its processes: those below it, in its session, and those that use its folder."""
        parents, folder = {}, str(self._folder).encode()
        mine = {self._process.pid} if self._process.poll() is None else set()
        for process, parent, session in _processes():
            parents[process] = parent
            with contextlib.suppress(OSError):
                if session == self._process.pid or folder in Path(f"/proc/{process}/cmdline").read_bytes():
                    mine.add(process)
        while below := {process for process, parent in parents.items() if parent in mine} - mine:
            mine |= below
        return mine - {os.getpid()}


def _processes() -> Iterator[tuple[int, int, int]]:
    """Yield all living processes with their parent and session."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, _group, session = path.read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
            if state != "Z":
                yield int(path.parent.name), int(parent), int(session)
