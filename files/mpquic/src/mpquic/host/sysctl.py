# SPDX-License-Identifier: GPL-3.0-or-later
"""Per-interface kernel settings (ip-sysctl in the kernel documentation)."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/proc/sys/net")


def path(key: str, name: str) -> Path:
    """Return the file of a setting such as ``ipv4/rp_filter`` of one interface."""
    family, setting = key.split("/")
    return _ROOT / family / "conf" / name / setting


def read(key: str, name: str) -> int | None:
    """Return a setting, or None where the kernel has none (IPv6 off, or an MTU too small for it)."""
    try:
        return int(path(key, name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def write(key: str, name: str, value: int) -> None:
    """Change a setting.

    Raises:
        OSError: the kernel or a sandbox refused.

    """
    path(key, name).write_text(f"{value}\n", encoding="ascii")


def has_ipv6() -> bool:
    """Return whether this kernel has per-interface IPv6 settings at all."""
    return (_ROOT / "ipv6" / "conf").is_dir()
