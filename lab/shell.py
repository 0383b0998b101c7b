# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands, waiting and progress."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError

# Command, and the Debian package that has it.
TOOLS = {
    "gcc": "gcc",
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
    "tinyproxy": "tinyproxy-bin",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
}
HEADER = Path("/usr/include/stdio.h")  # gcc's package does not bring it along


def require_tools() -> None:
    """Fail with the names of all missing packages."""
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    missing += [] if HEADER.exists() else ["libc6-dev"]
    if missing:
        raise LabError(f"missing packages: run apt-get install {' '.join(missing)}")


def run(*argv: str | Path, stdin: str | None = None) -> str:
    """Run a command and return its stdout; fail with the last line it wrote to stderr."""
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LabError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise LabError(f"{' '.join(command[:6])}: {lines[-1] if lines else f'exit {done.returncode}'}")
    return done.stdout


def succeeds(*argv: str | Path) -> bool:
    """Run a command for its exit code alone."""
    return subprocess.run([str(word) for word in argv], capture_output=True, check=False).returncode == 0


def spawn(argv: Sequence[str | Path], *, cgroup: Path, log: Path) -> int:
    """Start a process of its own session in a cgroup, output to a log file; return its pid."""
    cgroup.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        # The shell waits until it is in the cgroup and becomes the program, so every child of it is born in there.
        process = subprocess.Popen(
            ["sh", "-c", 'read -r go && exec "$@" </dev/null', "sh", *map(str, argv)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (cgroup / "cgroup.procs").write_text(str(process.pid))
    if process.stdin is not None:
        process.stdin.write(b"go\n")
        process.stdin.close()
    return process.pid


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    """Poll a condition; after `seconds` fail with the text of `otherwise`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(otherwise())
        time.sleep(0.05)


def note(text: str) -> None:
    """One line for the person who waits."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is done and how long it took; on a terminal the seconds run, elsewhere a line comes every 15 s."""
    start = time.monotonic()
    ended = threading.Event()
    terminal = sys.stderr.isatty()

    def tick() -> None:
        while not ended.wait(1 if terminal else 15):
            line = f"lab: {text} ... {time.monotonic() - start:.0f} s"
            print(f"\r{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        ended.set()
        ticker.join()
        if terminal:
            print("\r\033[K", end="", file=sys.stderr)
    note(f"{text}: {time.monotonic() - start:.1f} s")
