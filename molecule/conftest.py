# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the scenarios share: commands in the lab, the play, captures at the ISPs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "lab" / "lab"
# A scenario may have a site of its own.
_OWN = Path(os.environ.get("MOLECULE_SCENARIO_DIRECTORY", "/nonexistent")) / "inventory"
INVENTORY = _OWN if _OWN.is_dir() else ROOT / "inventories" / "lab"
TUNNELS = range(1, 7)
VPS_ADDRESS = "203.0.113.10"
WEB = "192.0.2.80"


def run(host: str, command: str, *, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a shell command on a host or namespace of the lab."""
    return subprocess.run(
        [LAB, "exec", host, "sh", "-c", command], check=check, timeout=timeout, capture_output=True, text=True
    )


def out(host: str, command: str, *, timeout: float = 60) -> str:
    """Return what a shell command on a host prints."""
    return run(host, command, timeout=timeout).stdout


def matching(host: str, commands: Iterable[str], pattern: re.Pattern[str]) -> list[str]:
    """Return what matches of the lines that commands print on a host (300 characters of each); they may fail."""
    lines = [line for command in commands for line in out(host, f"{command} || true").splitlines()]
    return [line[:300] for line in lines if pattern.search(line)]


def start(host: str, command: str) -> subprocess.Popen[str]:
    """Start a shell command on a host and return at once."""
    return subprocess.Popen(
        [LAB, "exec", host, "sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def lab(*arguments: str) -> None:
    """Run a command of the lab itself, such as ``cut wan4``."""
    subprocess.run([LAB, *arguments], check=True, capture_output=True, timeout=120)


def instances(host: str) -> dict[str, dict[str, Any]]:
    """Return what ``mpquic status`` says of every instance, by id."""
    return {entry["id"]: entry for entry in json.loads(out(host, "mpquic status --json"))["instances"]}


def wait_for(condition: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Poll until the condition holds and return the seconds it took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            pytest.fail(f"after {seconds} s still not: {what}")
        time.sleep(0.1)
    return time.monotonic() - begin


def all_up() -> bool:
    """Whether a packet from every LAN crosses to the internet and back."""
    return all(run(f"lan{i}", f"ping -c1 -W1 {WEB}", check=False).returncode == 0 for i in TUNNELS)


@contextlib.contextmanager
def unwatched(*hosts: str) -> Iterator[None]:
    """Let what a test breaks by hand stay broken; where it does not matter whether mpquic-watch runs, leave it."""
    for host in hosts:
        out(host, "systemctl stop mpquic-watch")
    try:
        yield
    finally:
        for host in hosts:
            out(host, "systemctl start mpquic-watch")


def play(
    *arguments: str, inventory: Path | None = None, playbook: str = "site.yml"
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the checkout, such as ``playbooks/health.yml``."""
    return subprocess.run(
        ["ansible-playbook", "-i", str(inventory or INVENTORY), playbook, *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0"},  # molecule's own output may be in colour
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )


def recap(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, int]]:
    """Return the play recap by host of the site; a play that failed fails the test with its output."""
    if result.returncode:
        pytest.fail(f"the play failed:\n{result.stdout[-6000:]}{result.stderr[-2000:]}")
    lines = re.findall(r"^(\S+)\s+: (ok=.*)$", result.stdout, re.MULTILINE)
    return {
        host: {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", counts)}
        for host, counts in lines
        if host != "localhost"
    }


@dataclass
class Capture:
    """What crossed the client's side of every ISP router while it ran."""

    lines: dict[int, list[str]]

    def ports(self, wan: int) -> set[int]:
        """Return the server ports of the UDP packets towards the VPS on that WAN."""
        found = (re.search(rf"> {re.escape(VPS_ADDRESS)}\.(\d+): UDP", line) for line in self.lines[wan])
        return {int(match[1]) for match in found if match}

    def plain(self, wan: int) -> list[str]:
        """Return the lines that show LAN traffic outside a tunnel."""
        return [line for line in self.lines[wan] if WEB in line or re.search(r"\b172\.16\.\d+\.\d+", line)]


def _wait_until_listening(captures: Iterable[subprocess.Popen[str]]) -> None:
    """Wait until each tcpdump sees what comes."""
    for process in captures:
        assert process.stderr is not None
        while "listening on" not in (line := process.stderr.readline()):
            assert line, "tcpdump ended"


@contextlib.contextmanager
def capture() -> Iterator[Capture]:
    """Record the IP packets between the client and each ISP router, DHCP aside."""
    result = Capture({})
    command = "exec tcpdump -i access -nn -l -q ip and not port 67 and not port 68"
    running = {i: start(f"isp{i}", command) for i in TUNNELS}
    _wait_until_listening(running.values())
    try:
        yield result
    finally:
        time.sleep(0.3)  # what is in flight still belongs to the capture
        for i, process in running.items():
            process.terminate()
            result.lines[i] = process.communicate(timeout=10)[0].splitlines()


@contextlib.contextmanager
def watch(*places: tuple[str, str, str], options: str = "") -> Iterator[dict[tuple[str, str], list[str]]]:
    """Record what crosses interfaces: (place, interface, filter); afterwards there are lines by place and interface."""
    seen: dict[tuple[str, str], list[str]] = {}
    running = {}
    for place, interface, wanted in places:
        # Into a file: nobody would empty a pipe meanwhile, and in a machine a signal to what runs here does not reach
        # what it runs there.
        command = f"echo $$ >/tmp/watch-{interface}; exec tcpdump -i {interface} -nn -l -q -B 4096 {options} '{wanted}'"
        running[place, interface] = start(place, f"{command} >/tmp/watch-{interface}.txt")
    _wait_until_listening(running.values())
    try:
        yield seen
    finally:
        time.sleep(0.5)  # what is in flight still belongs to it
        for (place, interface), process in running.items():
            file = f"/tmp/watch-{interface}"
            out(place, f"kill $(cat {file})")
            process.communicate(timeout=10)
            seen[place, interface] = out(place, f"cat {file}.txt; rm {file} {file}.txt").strip().splitlines()
