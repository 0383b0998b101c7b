# SPDX-License-Identifier: GPL-3.0-or-later
"""The wires of the WANs: start, settings, counters."""

import os
import signal
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError
from lab.model import Nic, Quality, Wan
from lab.paths import Paths
from lab.shell import run, spawn, wait_until

SOURCE = Path(__file__).parent / "wire.c"
# As struct shared in wire.c.
COUNTERS = struct.Struct("=11Q")
COUNTER_NAMES = ("packets", "bytes", "lost", "overflowed", "cut")


@dataclass(frozen=True)
class Wire:
    """The wire of one WAN in one lab."""

    paths: Paths
    wan: Wan

    @property
    def folder(self) -> Path:
        """Settings, counters, pid and log of all wires."""
        return self.paths.state / "wires"

    @property
    def settings(self) -> Path:
        """The file that the process reads."""
        return self.folder / f"{self.wan.name}.settings"

    @property
    def counters_file(self) -> Path:
        """The memory that the process counts in."""
        return self.folder / f"{self.wan.name}.counters"

    @property
    def pid(self) -> int | None:
        """The process, if it runs."""
        try:
            pid = int((self.folder / f"{self.wan.name}.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        # A pid alone may be another's by now.
        return pid if str(self.settings).encode() in command else None

    def start(self, host: str, nic: Nic) -> None:
        """Connect a NIC of a host with its ISP."""
        self.folder.mkdir(exist_ok=True)
        self.write(self.wan.quality, cut=False)
        pid = spawn(
            [
                compiled(self.paths),
                *(self.settings, self.counters_file),
                *(self.paths.netns_path(host), nic.name, self.paths.netns_path(self.wan.isp), "access"),
            ],
            cgroup=self.paths.services,
            log=self.folder / f"{self.wan.name}.log",
        )
        (self.folder / f"{self.wan.name}.pid").write_text(str(pid))

    def wait(self) -> None:
        """Wait until both devices exist."""
        log = self.folder / f"{self.wan.name}.log"
        wait_until(lambda: self.settings_read > 0, 10, lambda: f"{self.wan.name}: no wire: {log.read_text().strip()}")

    def words(self) -> tuple[int, ...]:
        """Everything the process counts; zeros before it runs."""
        try:
            return COUNTERS.unpack(self.counters_file.read_bytes())
        except (OSError, struct.error):
            return (0,) * 11

    @property
    def settings_read(self) -> int:
        """How often the process has read its settings."""
        return self.words()[0]

    def counters(self) -> dict[str, dict[str, int]]:
        """Frames and bytes delivered, and frames dropped by reason, up and down."""
        words = self.words()[1:]
        return {
            "up": dict(zip(COUNTER_NAMES, words[:5], strict=True)),
            "down": dict(zip(COUNTER_NAMES, words[5:], strict=True)),
        }

    def read(self) -> tuple[Quality, bool]:
        """Return the settings in force and whether the wire is cut."""
        try:
            pairs = (line.split() for line in self.settings.read_text().splitlines())
            values = {key: float(value) for key, value in pairs}
        except OSError as error:
            raise LabError(f"{self.wan.name}: no wire: the lab is not up") from error
        cut = bool(values.pop("cut"))
        return Quality(**values), cut

    def write(self, quality: Quality, *, cut: bool) -> None:
        """Write the settings whole."""
        part = self.settings.with_suffix(".part")
        values = {**asdict(quality), "cut": int(cut)}
        part.write_text("".join(f"{key} {value}\n" for key, value in values.items()))
        part.rename(self.settings)

    def apply(self, quality: Quality, *, cut: bool) -> None:
        """Change the settings; in force when this returns."""
        pid = self.pid
        if pid is None:
            raise LabError(f"{self.wan.name}: no wire: the lab is not up")
        before = self.settings_read
        self.write(quality, cut=cut)
        os.kill(pid, signal.SIGHUP)
        wait_until(
            lambda: self.settings_read > before, 5, lambda: f"{self.wan.name}: the wire did not take its settings"
        )


def compiled(paths: Paths) -> Path:
    """Return the program, compiled once per lab."""
    program = paths.state / "wire"
    if not program.exists():
        run("gcc", "-O2", "-Wall", "-o", program, SOURCE)
    return program
