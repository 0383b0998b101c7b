# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the kernel forwards as the roles told it: the settings in our files of sysctl.d(5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.host.errors import HostError
from mpquic.host.routing import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = (Path("/etc/sysctl.d/60-mpquic.conf"), Path("/etc/sysctl.d/60-mpquic-ipv6.conf"))
_ROOT = Path("/proc/sys")
#: Those of the network namespace. What sockets may ask for at most (net.core) counts when a daemon starts, not later.
_KEPT = ("net/ipv4/", "net/ipv6/")


@dataclass(frozen=True, slots=True)
class Setting:
    """A wanted setting; `key` as a path below /proc/sys, such as ``net/ipv4/ip_forward``."""

    key: str
    value: str

    @property
    def problem(self) -> Problem | None:
        """What is wrong with it: None where it is as wanted, or the kernel has no such setting (any more)."""
        try:
            found = (_ROOT / self.key).read_text(encoding="ascii").strip()
        except OSError:
            return None
        name = self.key.replace("/", ".")
        return None if found == self.value else Problem("setting_wrong", f"{name} is {found}, expected {self.value}")

    def write(self) -> None:
        """Set it.

        Raises:
            HostError: the kernel or a sandbox refuses.

        """
        try:
            (_ROOT / self.key).write_text(f"{self.value}\n", encoding="ascii")
        except OSError as error:
            raise HostError(f"set {self.key.replace('/', '.')} to {self.value}: {error.strerror}") from error


def wanted() -> tuple[Setting, ...]:
    """Return the settings in our files, in their order."""
    return tuple(setting for path in FILES for setting in _settings(path))


def problems() -> list[Problem]:
    """Return what is wrong with our settings."""
    return [problem for setting in wanted() if (problem := setting.problem) is not None]


def apply() -> None:
    """Set those that are not as wanted.

    Raises:
        HostError: the kernel or a sandbox refuses.

    """
    for setting in wanted():
        if setting.problem is not None:
            setting.write()


def _settings(path: Path) -> Iterator[Setting]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        name, found, value = line.partition("=")
        key = _key(name.strip())
        if found and key.startswith(_KEPT) and ".." not in key:
            yield Setting(key, value.strip())


def _key(name: str) -> str:
    """Return a name as a path: the first of '.' and '/' in it separates (sysctl.d(5))."""
    separator = next((character for character in name if character in "./"), "/")
    return name if separator == "/" else name.translate(str.maketrans("./", "/."))
